/// Tests of the descriptors that a service manager passes, and of the variables that describe them.
import CMillraceLinux
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ServiceManagerTests {
    // MARK: The environment

    /// Variables with a wrong value, and a part of the error's text.
    static let wrong: [([String: String], String)] = [
        (["LISTEN_FDS": "abc", "LISTEN_PID": "7"], "LISTEN_FDS is \"abc\""),
        (["LISTEN_FDS": "-1", "LISTEN_PID": "7"], "LISTEN_FDS is \"-1\""),
        (["LISTEN_FDS": "", "LISTEN_PID": "7"], "LISTEN_FDS is \"\""),
        (["LISTEN_FDS": "+1", "LISTEN_PID": "7"], "LISTEN_FDS is \"+1\""),
        (["LISTEN_FDS": "1025", "LISTEN_PID": "7"], "LISTEN_FDS is \"1025\""),
        (["LISTEN_FDS": "99999999999999999999", "LISTEN_PID": "7"], "LISTEN_FDS is \"999"),
        (["LISTEN_FDS": "1", "LISTEN_PID": "x"], "LISTEN_PID is \"x\""),
        (["LISTEN_FDS": "1", "LISTEN_PID": "0"], "LISTEN_PID is \"0\""),
        (
            ["LISTEN_FDS": "2", "LISTEN_PID": "7", "LISTEN_FDNAMES": "one"],
            "LISTEN_FDNAMES has 1 names for 2"
        ),
        (
            ["LISTEN_FDS": "1", "LISTEN_PID": "7", "LISTEN_FDNAMES": "one:"],
            "LISTEN_FDNAMES has 2 names for 1"
        ),
        (["LISTEN_FDS": "1", "LISTEN_PID": "7"], "descriptor 9999 is not open"),
        (["NOTIFY_SOCKET": ""], "NOTIFY_SOCKET is \"\""),
        (["NOTIFY_SOCKET": "@"], "NOTIFY_SOCKET is \"@\""),
        (["NOTIFY_SOCKET": "vsock:2:1234"], "NOTIFY_SOCKET is \"vsock:2:1234\""),
        (
            ["NOTIFY_SOCKET": "/" + String(repeating: "a", count: 107)],
            "NOTIFY_SOCKET is \"/aaaa"
        ),
        (["WATCHDOG_USEC": "0"], "WATCHDOG_USEC is \"0\""),
        (["WATCHDOG_USEC": "1s"], "WATCHDOG_USEC is \"1s\""),
        (["WATCHDOG_USEC": "1000", "WATCHDOG_PID": "-7"], "WATCHDOG_PID is \"-7\""),
    ]

    @Test("a value that a variable cannot have is refused with the variable", arguments: wrong)
    func refuses(_ variables: [String: String], _ text: String) {
        let error = #expect(throws: NetError.self) {
            try ServiceManager(variables: variables, process: 7, first: 9999)
        }
        #expect(error?.code == .invalidEnvironment)
        #expect(error?.cause.contains(text) == true, "\(error as Any)")
        #expect(error?.remedy.isEmpty == false)
    }

    @Test(
        "nothing is passed without the variables, or if they are for another process",
        arguments: [
            [:], ["LISTEN_FDS": "1"], ["LISTEN_PID": "7"],
            ["LISTEN_FDS": "0", "LISTEN_PID": "7", "LISTEN_FDNAMES": ""],
            ["LISTEN_FDS": "1", "LISTEN_PID": "8"],
            ["WATCHDOG_USEC": "1000", "WATCHDOG_PID": "8"],
        ])
    func nothing(_ variables: [String: String]) throws {
        let manager = try ServiceManager(variables: variables, process: 7, first: 9999)
        #expect(manager.descriptors == [])
        #expect(try manager.addresses() == [])
        #expect(manager.watchdogTimeout == nil && !manager.awaitsMessages)
        #expect(try !manager.notify(.ready))
    }

    @Test("the watchdog's time counts for this process, and for any without WATCHDOG_PID")
    func watchdogTime() throws {
        for more in [[:], ["WATCHDOG_PID": "7"]] {
            let variables = more.merging(["WATCHDOG_USEC": "2500000"]) { $1 }
            let manager = try ServiceManager(variables: variables, process: 7)
            #expect(manager.watchdogTimeout == .seconds(2.5))
        }
    }

    @Test("the variables are removed from the environment, also by an error")
    func removal() async {
        await #expect(processExitsWith: .success) {
            let names = [
                "LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET",
                "WATCHDOG_PID", "WATCHDOG_USEC",
            ]
            func isEmpty() -> Bool { names.allSatisfy { name in getenv(name) == nil } }
            setenv("LISTEN_PID", "\(getpid())", 1)
            setenv("LISTEN_PIDFDID", "1", 1)
            setenv("LISTEN_FDS", "0", 1)
            setenv("LISTEN_FDNAMES", "", 1)
            setenv("NOTIFY_SOCKET", "@millrace-none", 1)
            setenv("WATCHDOG_PID", "\(getpid())", 1)
            setenv("WATCHDOG_USEC", "1000", 1)
            let manager = try ServiceManager.fromEnvironment()
            #expect(manager.awaitsMessages && manager.watchdogTimeout == .milliseconds(1))
            #expect(isEmpty())
            #expect(try !ServiceManager.fromEnvironment().awaitsMessages)
            setenv("LISTEN_PID", "\(getpid())", 1)
            setenv("LISTEN_FDS", "x", 1)
            #expect(throws: NetError.self) { try ServiceManager.fromEnvironment() }
            #expect(isEmpty())
        }
    }

    // MARK: Sockets

    /// Returns a bound socket, which listens if it is a stream's.
    private static func bound(_ type: Int, _ address: Address, listens: Bool = true) throws -> CInt
    {
        let backlog: CInt? = listens && type != MR_SOCK_DGRAM ? 64 : nil
        return try KernelAddress(address).bind(CInt(type), backlog: backlog)
    }

    /// Passes the descriptors under successive numbers, as a manager would from 3 on. The numbers
    /// are far above those that other tests use.
    private static func pass(_ sockets: [(name: String, number: CInt)]) throws -> ServiceManager {
        let first = CInt(600)
        for (place, socket) in sockets.enumerated() {
            guard dup2(socket.number, first + CInt(place)) >= 0 else { throw SystemFailure("dup2") }
            close(socket.number)
        }
        return try ServiceManager(
            variables: [
                "LISTEN_PID": "7", "LISTEN_FDS": "\(sockets.count)",
                "LISTEN_FDNAMES": sockets.map(\.name).joined(separator: ":"),
            ], process: 7, first: first)
    }

    private static func closePassed(_ manager: ServiceManager) {
        for descriptor in manager.descriptors { close(descriptor.number) }
    }

    @Test("passed sockets of each kind serve under their names", arguments: Setup.all)
    func serves(_ setup: Setup) throws {
        let path = TemporaryPath.make()
        defer { unlink(path) }
        let manager = try Self.pass([
            ("stream", try Self.bound(MR_SOCK_STREAM, "tcp://127.0.0.1:0")),
            ("path", try Self.bound(MR_SOCK_STREAM, .unix(path))),
            ("stream", try Self.bound(MR_SOCK_STREAM, "tcp://[::1]:0")),
            ("datagrams", try Self.bound(MR_SOCK_DGRAM, "udp://127.0.0.1:0")),
        ])
        for descriptor in manager.descriptors {
            #expect(fcntl(descriptor.number, F_GETFD) & FD_CLOEXEC != 0)
        }
        let named = try manager.addresses(named: "stream")
        #expect(named.map(\.description) == ["fd://600", "fd://602"])
        #expect(try manager.addresses(named: "other") == [])
        let handler = DatagramTestHandler()
        let server = try Server(
            handler, listen: try manager.addresses(), options: setup.options())
        try serve(server) { server in
            let kinds = server.addresses.map { $0.description.prefix { $0 != ":" } }
            #expect(kinds == ["tcp", "unix", "tcp", "udp"])
            for place in 0..<3 {
                let client = try TestClient(to: server.addresses[place])
                #expect(try client.roundTrip("hello"))
            }
            let peer = try DatagramPeer(to: server.addresses[3])
            try peer.send([1, 2, 3])
            #expect(try peer.receive() == [1, 2, 3])
        }
        // The manager removes a path, and its own copy of the socket is open.
        #expect(TemporaryPath.exists(path))
    }

    @Test("a passed socket of UDP works with a socket for each loop too", arguments: Setup.several)
    func sharedPorts(_ setup: Setup) throws {
        let manager = try Self.pass([
            ("datagrams", try Self.bound(MR_SOCK_DGRAM, "udp://127.0.0.1:0"))
        ])
        let options = setup.options { $0.reusePort = true }
        let server = try Server(
            DatagramTestHandler(), listen: try manager.addresses(), options: options)
        try serve(server) { server in
            let peer = try DatagramPeer(to: server.addresses[0])
            try peer.send([1])
            #expect(try peer.receive() == [1])
        }
    }

    @Test("isSecured makes TLS addresses, and is refused for UDP")
    func securing() throws {
        let manager = try Self.pass([
            ("a", try Self.bound(MR_SOCK_STREAM, "tcp://127.0.0.1:0")),
            ("b", try Self.bound(MR_SOCK_DGRAM, "udp://127.0.0.1:0")),
        ])
        defer { Self.closePassed(manager) }
        let secured = try manager.addresses(named: "a", isSecured: true)
        #expect(secured.map(\.description) == ["tls+fd://600"])
        let error = #expect(throws: NetError.self) {
            try manager.addresses(named: "b", isSecured: true)
        }
        #expect(error?.code == .unsupported)
        #expect(try manager.addresses(named: "b").map(\.description) == ["udp+fd://601"])
    }

    @Test("a descriptor that is no socket to listen on is refused with its number and name")
    func refusedDescriptors() throws {
        let path = TemporaryPath.make()
        defer { unlink(path) }
        let seqpacket = CInt(5)
        let manager = try Self.pass([
            ("file", open("/dev/null", O_RDONLY)),
            ("silent", try Self.bound(MR_SOCK_STREAM, "tcp://127.0.0.1:0", listens: false)),
            ("unix", try Self.bound(MR_SOCK_DGRAM, .unix(path))),
            ("packets", socket(AF_UNIX, seqpacket, 0)),
            ("closed", open("/dev/null", O_RDONLY)),
        ])
        defer { Self.closePassed(manager) }
        close(604)
        for (descriptor, text) in zip(
            manager.descriptors,
            [
                "600 (file) is no socket", "601 (silent) does not listen",
                "602 (unix) is a socket of another kind",
                "603 (packets) is a socket of another kind", "604 (closed) is not open",
            ])
        {
            let error = #expect(throws: NetError.self) { try descriptor.address() }
            #expect(error?.code == .invalidAddress && error?.remedy.isEmpty == false)
            #expect(error?.cause == "descriptor \(text)")
        }
    }

    @Test("a server refuses a descriptor of the other kind", arguments: Setup.single)
    func otherKind(_ setup: Setup) throws {
        let kinds: [(Int, (CInt) -> Address, String)] = [
            (MR_SOCK_STREAM, { .inheritedDatagrams($0) }, "is no UDP socket"),
            (MR_SOCK_DGRAM, { .inherited($0) }, "is no listening stream socket"),
        ]
        for (type, address, text) in kinds {
            let number = try Self.bound(type, type == MR_SOCK_DGRAM ? "udp://127.0.0.1:0" : anyPort)
            let server = try Server(
                DatagramTestHandler(), listen: address(number), options: setup.options())
            let error = #expect(throws: NetError.self) { try server.start() }
            #expect(error?.code == .invalidAddress)
            #expect(error?.cause.contains(text) == true, "\(error as Any)")
        }
    }
}
