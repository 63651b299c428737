/// Tests of a Unix listener's file: replaced when it is a dead socket, otherwise left unchanged.
import Glibc
import MillraceTestSupport
import Testing

@testable import MillraceEventLoop

@Suite struct UnixPathTests {
    private let sockets = KernelSockets()
    private let path = TemporaryPath.make()
    private var address: SocketAddress { .unix(path, abstract: false) }

    // MARK: Making room

    @Test("listen replaces a stale socket path")
    func aStalePathIsReplaced() throws {
        try leaveStalePath()
        let stale = UnixPath.identity(of: path)
        let listener = try sockets.listen(on: address, ListenOptions())
        defer { end(listener) }
        #expect(listener.address == address)
        #expect(listener.path == UnixPath.identity(of: path))
        #expect(stale != nil && listener.path != nil)
        _ = try PlainSocket.connected(to: address)
    }

    @Test("listen refuses the path of a live listener")
    func aLivePathIsRefused() throws {
        let first = try sockets.listen(on: address, ListenOptions())
        defer { end(first) }
        #expect(throws: SystemError(EADDRINUSE, "bind")) {
            try sockets.listen(on: address, ListenOptions())
        }
        #expect(UnixPath.identity(of: path) == first.path)
        _ = try PlainSocket.connected(to: address)
    }

    @Test("listen refuses the path of a live listener whose backlog is full")
    func aLivePathWithAFullBacklogIsRefused() throws {
        let first = try sockets.listen(on: address, ListenOptions(backlog: 0))
        defer { end(first) }
        var clients: [PlainSocket] = []
        var result: CInt = 0
        while result == 0 && clients.count < 10 {
            let client = try PlainSocket(
                family: AF_UNIX,
                type: CInt(SOCK_STREAM.rawValue) | CInt(SOCK_NONBLOCK.rawValue))
            result = try client.connect(to: address)
            clients.append(client)
        }
        #expect(result == EAGAIN)
        #expect(throws: SystemError(EADDRINUSE, "bind")) {
            try sockets.listen(on: address, ListenOptions())
        }
        #expect(UnixPath.identity(of: path) == first.path)
    }

    @Test("listen refuses the path of a datagram socket")
    func aDatagramSocketIsRefused() throws {
        let other = try PlainSocket(family: AF_UNIX, type: CInt(SOCK_DGRAM.rawValue))
        try #require(try other.bind(to: address) == 0)
        defer { unlink(path) }
        let before = UnixPath.identity(of: path)
        #expect(throws: SystemError(EADDRINUSE, "bind")) {
            try sockets.listen(on: address, ListenOptions())
        }
        #expect(before != nil && UnixPath.identity(of: path) == before)
    }

    @Test("listen refuses the path of a regular file and leaves its text unchanged")
    func aRegularFileIsRefusedAndKeepsItsText() throws {
        try TemporaryPath.write("precious", to: path)
        defer { unlink(path) }
        expectRefusal()
        #expect(TemporaryPath.kind(of: path) == .regular)
        #expect(readText(path) == "precious")
    }

    @Test("listen refuses the path of a directory")
    func aDirectoryIsRefused() throws {
        try #require(mkdir(path, 0o700) == 0)
        defer { rmdir(path) }
        expectRefusal()
        #expect(TemporaryPath.kind(of: path) == .directory)
    }

    @Test("listen refuses the path of a named pipe")
    func aPipeIsRefused() throws {
        try #require(mkfifo(path, 0o600) == 0)
        defer { unlink(path) }
        expectRefusal()
        #expect(TemporaryPath.kind(of: path) == .pipe)
    }

    @Test("listen refuses a symbolic link to a missing file, a regular file or a stale socket")
    func aLinkIsRefusedWhateverItPointsTo() throws {
        let target = TemporaryPath.make()
        try #require(symlink(target, path) == 0)
        defer {
            unlink(path)
            unlink(target)
        }
        // The link's target is missing, then a file, then a dead socket.
        expectRefusal()
        #expect(TemporaryPath.kind(of: target) == nil)
        try TemporaryPath.write("precious", to: target)
        expectRefusal()
        #expect(readText(target) == "precious")
        unlink(target)
        try leaveStalePath(target)
        expectRefusal()
        #expect(TemporaryPath.kind(of: target) == .socket)
        #expect(TemporaryPath.kind(of: path) == .link)
    }

    @Test("listen throws ENOENT for a path in a missing directory")
    func aMissingDirectoryIsAnError() {
        let address = SocketAddress.unix("\(path).missing/socket", abstract: false)
        #expect(throws: SystemError(ENOENT, "bind")) {
            try sockets.listen(on: address, ListenOptions())
        }
    }

    // MARK: Removing

    @Test("removePath removes the listener's path and may be called twice")
    func thePathIsRemoved() throws {
        let listener = try sockets.listen(on: address, ListenOptions())
        #expect(TemporaryPath.kind(of: path) == .socket)
        sockets.removePath(of: listener)
        #expect(TemporaryPath.kind(of: path) == nil)
        sockets.removePath(of: listener)
        sockets.discard(listener.descriptor)
    }

    @Test("removePath leaves the path when another listener now uses it")
    func thePathOfAnotherListenerStays() throws {
        let first = try sockets.listen(on: address, ListenOptions())
        unlink(path)
        let second = try sockets.listen(on: address, ListenOptions())
        defer { end(second) }
        sockets.removePath(of: first)
        sockets.discard(first.descriptor)
        #expect(UnixPath.identity(of: path) == second.path)
        _ = try PlainSocket.connected(to: address)
    }

    @Test("removePath leaves a regular file that replaced the socket")
    func aFileThatTookThePathStays() throws {
        let listener = try sockets.listen(on: address, ListenOptions())
        unlink(path)
        try TemporaryPath.write("precious", to: path)
        defer { unlink(path) }
        sockets.removePath(of: listener)
        sockets.discard(listener.descriptor)
        #expect(readText(path) == "precious")
    }

    @Test("removePath leaves a symbolic link that replaced the socket")
    func aLinkThatTookThePathStays() throws {
        let moved = TemporaryPath.make()
        let listener = try sockets.listen(on: address, ListenOptions())
        try #require(rename(path, moved) == 0)
        try #require(symlink(moved, path) == 0)
        defer {
            unlink(path)
            unlink(moved)
        }
        sockets.removePath(of: listener)
        sockets.discard(listener.descriptor)
        #expect(TemporaryPath.kind(of: path) == .link)
        #expect(TemporaryPath.kind(of: moved) == .socket)
    }

    @Test("identity returns nil for a missing path, a regular file and a directory")
    func onlySocketsHaveAnIdentity() throws {
        #expect(UnixPath.identity(of: path) == nil)
        try TemporaryPath.write("", to: path)
        #expect(UnixPath.identity(of: path) == nil)
        unlink(path)
        #expect(UnixPath.identity(of: "/tmp") == nil)
    }

    // MARK: Shorthands

    /// Expects EEXIST, which an error message distinguishes from a live listener.
    private func expectRefusal() {
        #expect(throws: SystemError(EEXIST, "bind")) {
            try sockets.listen(on: address, ListenOptions())
        }
    }

    /// Leaves the file that a killed program leaves.
    private func leaveStalePath(_ path: String? = nil) throws {
        let dead = try PlainSocket(family: AF_UNIX)
        try #require(try dead.bind(to: .unix(path ?? self.path, abstract: false)) == 0)
        try #require(listen(dead.number, 1) == 0)
    }

    private func end(_ listener: BoundListener) {
        sockets.removePath(of: listener)
        sockets.discard(listener.descriptor)
    }
}
