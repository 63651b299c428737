/// Tests of names in a server's list of addresses: they are looked up when it starts.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct NamedListenTests {
    private static func options(_ setup: Setup, _ resolver: TestResolver) -> Options {
        setup.options { $0.names.resolver = resolver }
    }

    private static func startError(
        _ setup: Setup, _ address: Address, _ resolver: TestResolver,
        _ change: (inout Options) -> Void = { _ in }
    ) throws -> NetError {
        let path = TemporaryPath.make()
        let server = try Server(
            DatagramTestHandler(), listen: .unix(path), address,
            options: options(setup, resolver).with(change))
        let error = try server.startError()
        #expect(!TemporaryPath.exists(path), "the other address stayed bound")
        return try #require(error)
    }

    @Test("a server listens on the address of a name", arguments: Setup.all, [false, true])
    func aNameIsServed(_ setup: Setup, _ reusePort: Bool) throws {
        let resolver = TestResolver(["127.0.0.5", "127.0.0.6"])
        let options = Self.options(setup, resolver).with { $0.reusePort = reusePort }
        let listen: [Address] = ["tcp://own.test:0", "tcp://127.0.0.1:0", "tcp4://own.test:0"]
        try withServer(setup, listen: listen, options: options) { server in
            let texts = server.addresses.map(\.description)
            #expect(texts[0].hasPrefix("tcp://127.0.0.5:") && !texts[0].hasSuffix(":0"))
            #expect(texts[1].hasPrefix("tcp://127.0.0.1:"))
            #expect(texts[2].hasPrefix("tcp://127.0.0.5:"))
            for place in 0..<3 {
                let client = try server.connect(place)
                #expect(try client.roundTrip("x"))
            }
            #expect(resolver.queries.map(\.host) == ["own.test", "own.test"])
            let copies = try server.server.duplicateListeners(of: "tcp://own.test:0")
            #expect(copies.count == (reusePort ? setup.loops : 1))
            for copy in copies { close(copy) }
        }
    }

    @Test("datagrams are served on the address of a name", arguments: Setup.all)
    func datagrams(_ setup: Setup) throws {
        let options = Self.options(setup, TestResolver(["127.0.0.5"]))
        try withDatagramServer(setup, listen: "udp://own.test:0", options: options) { server in
            #expect(server.boundAddresses[0].description.hasPrefix("udp://127.0.0.5:"))
        }
    }

    /// 203.0.113.0/24 and 2001:db8::/32 are for documentation, so no machine should have them.
    /// Nothing is sent.
    @Test(
        "an address of another machine is left out, and if all are, the error has them",
        arguments: Setup.all)
    func otherMachines(_ setup: Setup) throws {
        let resolver = TestResolver(["203.0.113.1", "2001:db8::1", "127.0.0.5", "127.0.0.6"])
        let options = Self.options(setup, resolver)
        try withServer(setup, listen: ["tcp://own.test:0"], options: options) { server in
            #expect(server.addresses[0].description.hasPrefix("tcp://127.0.0.5:"))
        }
        let foreign = TestResolver(["203.0.113.1", "203.0.113.2"])
        let error = try Self.startError(setup, "tcp://own.test:0", foreign)
        #expect(error.code == .invalidAddress && error.errno == EADDRNOTAVAIL)
        #expect(error.cause.contains("203.0.113.1, 203.0.113.2"))
    }

    @Test("a port in use is an error, not a reason for the next address", arguments: Setup.single)
    func inUse(_ setup: Setup) throws {
        try withServer(setup, listen: ["tcp://127.0.0.1:0"]) { server in
            let port = try #require(server.addresses[0].port)
            let resolver = TestResolver(["127.0.0.1", "127.0.0.7"])
            let error = try Self.startError(setup, .tcp("own.test", port: port), resolver)
            #expect(error.code == .addressInUse && error.cause.contains("own.test"))
        }
    }

    @Test("a start that fails ends the threads of its lookups", arguments: Setup.all)
    func failedStart(_ setup: Setup) throws {
        try withServer(setup, listen: ["tcp://127.0.0.1:0"]) { server in
            let port = try #require(server.addresses[0].port)
            // Capitals, since localhost itself is not looked up.
            let taken = Array(repeating: Address.tcp("LOCALHOST", port: port), count: 4)
            let threads = Probe.threads
            let servers = try (0..<5).map { _ in
                try Server(TestHandler(), listen: taken, options: setup.options())
            }
            for server in servers {
                let error = #expect(throws: NetError.self) {
                    try bounded("Server.start") { try server.start() }
                }
                #expect(error?.code == .addressInUse)
            }
            try eventually("the threads end") { Probe.threads <= threads }
            withExtendedLifetime(servers) {}
        }
    }

    @Test("a name that is not resolved is an error of the start", arguments: Setup.all)
    func unresolved(_ setup: Setup) throws {
        let failing = TestResolver(.later, .failure(Mishap(text: "closed")))
        let error = try Self.startError(setup, "tcp://own.test:0", failing)
        #expect(error.code == .unresolved && error.step == .resolving)
        #expect(error.cause.contains("tcp://own.test:0") && error.cause.contains("closed"))
        let empty = try Self.startError(setup, "udp6://own.test:0", TestResolver(["127.0.0.1"]))
        #expect(empty.code == .unresolved && empty.cause.contains("IPv6"))
        let silent = TestResolver.silent(["127.0.0.1"])
        let late = try Self.startError(setup, "tcp://own.test:0", silent) {
            $0.names.startTimeout = .milliseconds(50)
        }
        #expect(late.code == .timedOut && late.step == .resolving)
        #expect(!silent.queries[0].isWanted)
        silent.give()
    }

    @Test("a stop ends a start that waits for a lookup", arguments: Setup.all)
    func stop(_ setup: Setup) throws {
        let resolver = TestResolver.silent(["127.0.0.1"])
        let server = try Server(
            TestHandler(), listen: "tcp://own.test:0", options: Self.options(setup, resolver))
        let starting = Worker { try server.startUnlessStopped() }
        try eventually("it is asked") { resolver.queries.count == 1 }
        try bounded("Server.stop") { server.stop() }
        #expect(try starting.join("the start") == false)
        resolver.give()
        #expect(server.boundAddresses.isEmpty)
        // Stopped, and not failed.
        let error = #expect(throws: NetError.self) { try server.start() }
        #expect(error?.code == .closed)
        guard case .stopped = try bounded("run", { try server.run() }) else {
            throw SystemFailure("another reason", 0)
        }
    }

    /// A loop that waited would delay all its connections for as long as the lookup.
    @Test(
        "start in a callback returns while another thread waits for the lookups of a start",
        arguments: Setup.all)
    func startInCallback(_ setup: Setup) throws {
        let resolver = TestResolver.silent(["127.0.0.1"])
        let named = try Server(
            TestHandler(), listen: "tcp://own.test:0", options: Self.options(setup, resolver))
        let starting = Worker { try named.startUnlessStopped() }
        try eventually("it is asked") { resolver.queries.count == 1 }
        let handler = TestHandler(traffic: { connection in
            try named.start()
            return try TestHandler.echo(connection)
        })
        try withServer(setup, handler) { server in
            let isServed = try server.connect().roundTrip("x")
            #expect(isServed)
        }
        #expect(named.boundAddresses.isEmpty)
        resolver.give()
        #expect(try starting.join("the start"))
        try bounded("stop") { named.stop() }
    }

    /// With `reusePort` the kernel would divide the clients of two sockets.
    @Test("two names of one address are refused", arguments: Setup.all)
    func twoNames(_ setup: Setup) throws {
        let options = Self.options(setup, TestResolver(["127.0.0.5"])).with {
            $0.reusePort = true
        }
        try withServer(setup, listen: ["tcp://own.test:0"], options: options) { server in
            let port = try #require(server.addresses[0].port)
            for host in ["other.test", "127.0.0.5"] {
                let error = #expect(throws: NetError.self) {
                    try server.server.listen(on: .tcp(host, port: port))
                }
                #expect(error?.code == .addressInUse && error?.cause.contains(host) == true)
            }
            #expect(server.addresses.count == 1)
        }
    }

    @Test("a run that a stop ends during a lookup returns, without an error", arguments: Setup.all)
    func runStopped(_ setup: Setup) throws {
        let resolver = TestResolver.silent(["127.0.0.1"])
        let server = try Server(
            TestHandler(), listen: "tcp://own.test:0", options: Self.options(setup, resolver))
        let running = Worker { try server.run() }
        try eventually("it is asked") { resolver.queries.count == 1 }
        server.requestStop()
        guard case .stopped = try running.join("the run") else {
            throw SystemFailure("another reason", 0)
        }
    }

    @Test("a failed lookup closes the inherited listeners too", arguments: Setup.all)
    func inherited(_ setup: Setup) throws {
        let number = try elevated(plainStream())
        let resolver = TestResolver(.atOnce, .failure(Mishap(text: "closed")))
        let server = try Server(
            TestHandler(), listen: .inherited(number), "tcp://own.test:0",
            options: Self.options(setup, resolver))
        let error = #expect(throws: NetError.self) { try server.start() }
        #expect(error?.code == .unresolved)
        #expect(!isOpen(number))
    }
}
