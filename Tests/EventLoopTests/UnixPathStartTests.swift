/// Tests of two starts on one path, and of a path after the process changes its directory.
import Glibc
import MillraceTestSupport
import Testing

@testable import MillraceEventLoop

@Suite struct UnixPathStartTests {
    private let sockets = KernelSockets()
    /// A directory for this test only, so that no other test waits for its lock.
    private let directory: String
    private let path: String
    private var address: SocketAddress { .unix(path, abstract: false) }

    init() throws {
        directory = TemporaryPath.make("directory")
        path = directory + "/socket"
        try #require(mkdir(directory, 0o700) == 0)
    }

    private func cleanUp() {
        unlink(path)
        rmdir(directory)
    }

    /// A socket that is bound and not listening yet looks dead to a connecting client.
    @Test("listen waits for an unfinished start on its path and does not replace that socket")
    func aStartThatIsNotOverIsNotRobbed() throws {
        defer { cleanUp() }
        let other = try PlainSocket(family: AF_UNIX)
        let lock = UnixPath.lockDirectory(of: path)
        try #require(lock >= 0)
        try #require(try other.bind(to: address) == 0)
        let found = UnixPath.identity(of: path)
        let outcome = Monitor<SystemError??>(nil)
        let thread = try LoopThread(name: "start") { [sockets, address] in
            do throws(SystemError) {
                sockets.discard(try sockets.listen(on: address, ListenOptions()).descriptor)
                outcome.update { $0 = .some(nil) }
            } catch {
                let refusal = error
                outcome.update { $0 = refusal }
            }
        }
        // In this time a start that ignores the lock would fail the test.
        usleep(50_000)
        #expect(listen(other.number, 1) == 0)
        close(lock)
        #expect(outcome.wait { $0 } == SystemError(EADDRINUSE, "bind"))
        thread.join()
        #expect(found != nil && UnixPath.identity(of: path) == found)
        _ = try PlainSocket.connected(to: address)
    }

    @Test("of several simultaneous starts on one stale path exactly one succeeds")
    func ofManyStartsOverOneDeadPathOneSucceeds() throws {
        defer { cleanUp() }
        for round in 0..<100 {
            do {
                let dead = try PlainSocket(family: AF_UNIX)
                try #require(try dead.bind(to: address) == 0)
            }
            let won = Monitor<[BoundListener]>([])
            let team = ThreadTeam(4) { [sockets, address] _ in
                guard let listener = try? sockets.listen(on: address, ListenOptions()) else {
                    return
                }
                won.withLock { $0.append(listener) }
            }
            team.join()
            let winners = won.withLock { $0 }
            #expect(winners.count == 1, "round \(round)")
            #expect(winners.first?.path == UnixPath.identity(of: path), "round \(round)")
            for winner in winners {
                sockets.removePath(of: winner)
                sockets.discard(winner.descriptor)
            }
        }
    }

    @Test("lockDirectory returns -1 for a directory that cannot be opened")
    func aDirectoryThatCannotBeOpenedIsUsedWithoutALock() throws {
        #expect(UnixPath.lockDirectory(of: directory + ".missing/socket") == -1)
        cleanUp()
    }

    @Test("the socket file has the mode given in the options", arguments: [0o600, 0o660, 0o777, 0])
    func theFileHasTheRightsThatWereAskedFor(mode: UInt16) throws {
        defer { cleanUp() }
        var options = ListenOptions()
        options.mode = mode
        let listener = try sockets.listen(on: address, options)
        defer { sockets.discard(listener.descriptor) }
        var status = stat()
        #expect(lstat(path, &status) == 0)
        #expect(status.st_mode & 0o777 == mode_t(mode))
    }

    /// A process that may write to the directory can put a link in the socket's place.
    @Test("setMode does not change the target of a link put in the socket's place")
    func aLinkInItsPlaceGivesNobodyElseTheMode() throws {
        defer { cleanUp() }
        let listener = try sockets.listen(on: address, ListenOptions())
        defer { sockets.discard(listener.descriptor) }
        let other = TemporaryPath.make("other")
        defer { unlink(other) }
        close(open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600))
        unlink(path)
        #expect(symlink(other, path) == 0)
        let error = #expect(throws: SystemError.self) {
            try UnixPath.setMode(0o666, of: path, ifStill: listener.path)
        }
        #expect(error?.number == EEXIST)
        var status = stat()
        #expect(lstat(other, &status) == 0 && status.st_mode & 0o777 == 0o600)
        unlink(path)
    }

    /// The working directory belongs to the process, so the test runs in another process.
    @Test("a relative path is removed after a change of the working directory")
    func aRelativePathIsRemovedFromAnotherDirectory() async {
        cleanUp()
        await #expect(processExitsWith: .success) {
            let directory = TemporaryPath.make("directory")
            try #require(mkdir(directory, 0o700) == 0 && chdir(directory) == 0)
            let sockets = KernelSockets()
            let address = SocketAddress.unix("socket", abstract: false)
            let listener = try sockets.listen(on: address, ListenOptions())
            #expect(listener.address == address)
            try #require(chdir("/") == 0)
            sockets.removePath(of: listener)
            #expect(TemporaryPath.kind(of: directory + "/socket") == nil)
            unlink(directory + "/socket")
            rmdir(directory)
        }
    }
}
