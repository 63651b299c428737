/// Tests of a Unix listener's file: replaced when dead, refused when it is anything else, removed
/// when it is ours.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct UnixPathTests {
    /// A listening socket at `path` that does not belong to the library.
    private func occupy(_ path: String) throws -> CInt {
        try KernelAddress(.unix(path)).bind(backlog: 8)
    }

    private func startFails(_ setup: Setup, _ path: String) throws -> NetError {
        let server = try Server(TestHandler(), listen: .unix(path), options: setup.options())
        return try #require(try server.startError(), "the server started on \(path)")
    }

    @Test(
        "the socket's path exists while the server runs and is removed by the stop",
        arguments: Setup.all)
    func aPathIsThereWhileServingAndGoneAfterStop(_ setup: Setup) throws {
        let path = TemporaryPath.make()
        try withServer(setup, listen: [.unix(path)]) { server in
            #expect(TemporaryPath.exists(path))
            let client = try server.connect()
            #expect(try client.roundTrip("x"))
        }
        #expect(!TemporaryPath.exists(path))
    }

    @Test(
        "the socket file has the permissions of the option unix.mode",
        arguments: Setup.single, [0o600, 0o666] as [UInt16])
    func theFileHasTheRightsOfTheOption(_ setup: Setup, _ mode: UInt16) throws {
        let path = TemporaryPath.make()
        let options = setup.options { $0.unix.mode = mode }
        try withServer(setup, listen: [.unix(path)], options: options) { server in
            var status = stat()
            #expect(lstat(path, &status) == 0 && status.st_mode & 0o777 == mode_t(mode))
            let isServed = try server.connect().roundTrip("x")
            #expect(isServed)
        }
    }

    @Test("a start replaces a socket file without a listener", arguments: Setup.all)
    func aDeadSocketIsReplaced(_ setup: Setup) throws {
        let path = TemporaryPath.make()
        close(try occupy(path))
        #expect(TemporaryPath.exists(path))
        try withServer(setup, listen: [.unix(path)]) { server in
            let client = try server.connect()
            #expect(try client.roundTrip("x"))
        }
        #expect(!TemporaryPath.exists(path))
    }

    @Test(
        "a start on a live socket's path fails, and the socket's server still serves",
        arguments: Setup.all)
    func aLiveSocketIsRefusedAndKeepsItsClients(_ setup: Setup) throws {
        let path = TemporaryPath.make()
        try withServer(setup, listen: [.unix(path)]) { server in
            let error = try startFails(setup, path)
            #expect(error.code == .addressInUse)
            #expect(error.description.contains(path))
            let client = try server.connect()
            #expect(try client.roundTrip("still ours"))
        }
    }

    @Test("a start on the path of a live socket with a full backlog fails", arguments: Setup.all)
    func aLiveSocketWithAFullBacklogIsRefusedToo(_ setup: Setup) throws {
        let path = TemporaryPath.make()
        let other = try occupy(path)
        defer {
            close(other)
            unlink(path)
        }
        var waiting: [TestClient] = []
        while let client = try? TestClient(to: .unix(path)) { waiting.append(client) }
        #expect(try startFails(setup, path).code == .addressInUse)
        #expect(TemporaryPath.exists(path))
    }

    @Test(
        "a start on the path of a file, directory or link fails and does not change it",
        arguments: Setup.all)
    func whatIsNoSocketIsRefusedAndLeftAlone(_ setup: Setup) throws {
        let file = TemporaryPath.make("txt")
        let directory = TemporaryPath.make("directory")
        let link = TemporaryPath.make("link")
        try TemporaryPath.write("precious", to: file)
        mkdir(directory, 0o700)
        symlink(file, link)
        defer {
            unlink(file)
            unlink(link)
            rmdir(directory)
        }
        for path in [file, directory, link] {
            let error = try startFails(setup, path)
            #expect(error.description.contains(path))
            #expect(!error.remedy.isEmpty)
            #expect(TemporaryPath.exists(path))
        }
        #expect(readText(file) == "precious")
    }

    @Test(
        "a stop does not remove another file that has replaced the socket at its path",
        arguments: Setup.all)
    func aPathThatSomebodyElseTookMeanwhileIsNotRemoved(_ setup: Setup) throws {
        let path = TemporaryPath.make()
        try withServer(setup, listen: [.unix(path)]) { _ in
            unlink(path)
            try TemporaryPath.write("not yours", to: path)
        }
        #expect(readText(path) == "not yours")
        unlink(path)
    }

    @Test(
        "a start on a path in a missing directory fails with an error that names the path",
        arguments: Setup.all)
    func aPathInAMissingDirectoryFailsClearly(_ setup: Setup) throws {
        let path = "/tmp/millrace-missing-\(getpid())/app.sock"
        #expect(try startFails(setup, path).description.contains(path))
    }

    @Test(
        "a server accepts the longest path, and a longer one fails with an error",
        arguments: Setup.all)
    func theLongestPathServesAndALongerOneFailsClearly(_ setup: Setup) throws {
        let stem = TemporaryPath.make()
        let longest = stem + String(repeating: "x", count: 107 - stem.utf8.count)
        try withServer(setup, listen: [.unix(longest)]) { server in
            let client = try server.connect()
            #expect(try client.roundTrip("x"))
        }
        #expect(throws: NetError.self) {
            let server = try Server(
                TestHandler(), listen: .unix(longest + "x"), options: setup.options())
            try server.start()
            server.stop()
        }
        #expect(!TemporaryPath.exists(longest + "x"))
    }

    @Test("an abstract name serves, and a second start on it fails", arguments: Setup.all)
    func anAbstractNameServesAndIsRefusedASecondTime(_ setup: Setup) throws {
        let name = "@millrace-\(getpid())"
        try withServer(setup, listen: [.unix(name)]) { server in
            #expect(server.addresses.map(\.description) == ["unix://\(name)"])
            #expect(try startFails(setup, name).code == .addressInUse)
            let client = try server.connect()
            #expect(try client.roundTrip("x"))
        }
        #expect(!TemporaryPath.exists(name))
    }
}
