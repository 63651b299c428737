/// Tests of connects by name: the lookup, the race between the addresses, and their errors.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct NamedConnectTests {
    typealias Outcome = Result<String, NetError>

    /// Starts a client, and stops it in bounded time with nothing left.
    static func withClient(
        _ setup: Setup, _ resolver: TestResolver?, delay: Duration = .milliseconds(100),
        handler: TestHandler = TestHandler(), _ change: (inout Options) -> Void = { _ in },
        _ body: (Client) throws -> Void
    ) throws {
        let before = Probe.descriptors
        let options = setup.options {
            $0.names.resolver = resolver
            $0.names.attemptDelay = delay
            change(&$0)
        }
        let client = try Client(handler, options: options)
        try bounded("Client.start") { try client.start() }
        let result = Result { try body(client) }
        try bounded("Client.stop") { client.stop() }
        #expect(client.connectionCount == 0)
        try eventually("every descriptor closed") { Probe.descriptors <= before }
        try result.get()
    }

    /// Connects and waits for the outcome: the peer's address, or the error.
    static func outcome(
        _ client: Client, _ address: Address, timeout: Duration = .seconds(20)
    ) throws -> Outcome {
        let told = Shared<[Outcome]>([])
        client.connect(to: address, timeout: timeout) { result in
            told.update { $0.append(result.map { "\($0.remoteAddress)" }) }
        }
        try eventually("the outcome of \(address)") { !told.value.isEmpty }
        #expect(told.value.count == 1)
        return told.value[0]
    }

    static func error(
        _ client: Client, _ address: Address, timeout: Duration = .seconds(20)
    ) throws -> NetError {
        switch try outcome(client, address, timeout: timeout) {
        case .success(let peer): throw Mishap(text: "connected to \(peer)")
        case .failure(let error): return error
        }
    }

    /// Runs `body` with the port of a server that echoes on 127.0.0.1.
    private static func withEcho(_ setup: Setup, _ body: (UInt16) throws -> Void) throws {
        try withServer(setup, listen: ["tcp://127.0.0.1:0"]) { server in
            try body(try #require(server.addresses[0].port))
        }
    }

    private static func host(_ port: UInt16) -> Address { .tcp("peer.test", port: port) }

    @Test("a name is looked up and connected", arguments: Setup.all)
    func aNameIsConnected(_ setup: Setup) throws {
        try Self.withEcho(setup) { port in
            for manner in [TestResolver.Manner.atOnce, .later] {
                let resolver = TestResolver(manner, ["127.0.0.1"])
                try Self.withClient(setup, resolver) { client in
                    let peer = try Self.outcome(client, Self.host(port)).get()
                    #expect(peer == "tcp://127.0.0.1:\(port)")
                    #expect(resolver.queries.map(\.host) == ["peer.test"])
                    #expect(resolver.queries[0].family == nil && !resolver.queries[0].isWanted)
                    #expect(client.statistics.lookups == 1)
                }
            }
        }
    }

    @Test("digits and localhost are connected without a resolver", arguments: Setup.all)
    func digitsAreNotLookedUp(_ setup: Setup) throws {
        try Self.withEcho(setup) { port in
            let resolver = TestResolver.silent()
            try Self.withClient(setup, resolver) { client in
                for host in ["127.0.0.1", "localhost", "::ffff:127.0.0.1"] {
                    _ = try Self.outcome(client, .tcp(host, port: port)).get()
                }
                #expect(resolver.queries.isEmpty && client.statistics.lookups == 0)
            }
        }
    }

    @Test("the system's resolver reads /etc/hosts", arguments: Setup.all)
    func theSystemsResolver(_ setup: Setup) throws {
        try Self.withEcho(setup) { port in
            try Self.withClient(setup, nil) { client in
                // Capitals, since localhost itself is not looked up.
                let peer = try Self.outcome(client, .tcp("LOCALHOST", port: port)).get()
                #expect(peer.hasSuffix(":\(port)"))
                #expect(client.statistics.lookups == 1 && client.statistics.lookupFailures == 0)
            }
        }
    }

    @Test("IPv6 that does not answer is overtaken by IPv4 after the delay", arguments: Setup.all)
    func deadIPv6(_ setup: Setup) throws {
        try Self.withEcho(setup) { port in
            guard let dead = try? FullBacklog(at: .tcp("::1", port: port)) else { return }
            // IPv6 is first, although the resolver has it last.
            let resolver = TestResolver(["127.0.0.1", "::1"])
            try Self.withClient(setup, resolver) { client in
                let begin = ContinuousClock.now
                let peer = try Self.outcome(client, Self.host(port)).get()
                #expect(peer == "tcp://127.0.0.1:\(port)")
                #expect(ContinuousClock.now - begin >= .milliseconds(100))
                try eventually("the loser is gone") { client.connectionCount == 1 }
            }
            withExtendedLifetime(dead) {}
        }
    }

    @Test("an address that refuses is followed at once", arguments: Setup.all)
    func refusedThenGood(_ setup: Setup) throws {
        try Self.withEcho(setup) { port in
            // A link-local address without a zone fails before a packet is sent.
            let hosts = ["127.0.0.2", "127.0.0.3", "127.0.0.1", "fe80::1", "fe80::2", "fe80::3"]
            let resolver = TestResolver(hosts)
            try Self.withClient(setup, resolver, delay: .seconds(10)) { client in
                let peer = try Self.outcome(client, Self.host(port), timeout: .seconds(9)).get()
                #expect(peer == "tcp://127.0.0.1:\(port)")
                try eventually("one is left") { client.connectionCount == 1 }
            }
        }
    }

    @Test("an earlier address that answers late still wins")
    func anEarlierAttemptGoesOn() async {
        await sideBySide(Setup.all) { setup in
            try Self.withEcho(setup) { port in
                let slow = try FullBacklog(at: .tcp("127.0.0.2", port: port))
                let silent = try FullBacklog(at: .tcp("127.0.0.3", port: port))
                let resolver = TestResolver(["127.0.0.2", "127.0.0.3"])
                try Self.withClient(setup, resolver, delay: .milliseconds(20)) { client in
                    let told = Shared<String?>(nil)
                    client.connect(to: Self.host(port), timeout: patience) { result in
                        told.value = word { "\(try result.get().remoteAddress)" }
                    }
                    // By then the first one is later than the delay.
                    try eventually("both are tried") { client.connectionCount == 2 }
                    slow.drain()
                    try eventually("the answer") { told.value != nil }
                    #expect(told.value == "tcp://127.0.0.2:\(port)")
                    try eventually("the loser is gone") { client.connectionCount == 1 }
                }
                withExtendedLifetime(silent) {}
            }
        }
    }

    @Test("if all refuse, the error has each address and its reason", arguments: Setup.all)
    func allRefused(_ setup: Setup) throws {
        try Self.withEcho(setup) { port in
            let hosts = (2...8).map { "127.0.0.\($0)" }
            // Repetitions and texts that are no addresses are not tried.
            let resolver = TestResolver(hosts + hosts + ["nonsense", "unix:///x", ""])
            try Self.withClient(setup, resolver, delay: .seconds(10)) { client in
                let error = try Self.error(client, Self.host(port), timeout: .seconds(9))
                #expect(error.code == .system && error.errno == ECONNREFUSED)
                #expect(error.step == .connecting && !error.remedy.isEmpty)
                #expect(error.cause.contains("tcp://peer.test:\(port)"))
                #expect(error.cause.contains("127.0.0.2 connection refused (ECONNREFUSED)"))
                #expect(error.cause.contains("127.0.0.5 ") && error.cause.contains("3 more failed"))
            }
        }
    }

    @Test("a silent host ends at the deadline, with what was tried", arguments: Setup.all)
    func deadline(_ setup: Setup) throws {
        try Self.withEcho(setup) { port in
            let silent = try FullBacklog(at: .tcp("127.0.0.3", port: port))
            let resolver = TestResolver(.atOnce, ["127.0.0.2", "127.0.0.3"])
            // Long enough for the refusal.
            try withGrowingTime(from: .milliseconds(300)) { time in
                try Self.withClient(setup, resolver) { client in
                    let begin = ContinuousClock.now
                    let error = try Self.error(client, Self.host(port), timeout: time)
                    #expect(ContinuousClock.now - begin >= time)
                    #expect(error.code == .timedOut)
                    try eventually("none is left") { client.connectionCount == 0 }
                    try must(error.step == .connecting, "\(error)")
                    try must(error.cause.contains("127.0.0.2 connection refused"), error.cause)
                    try must(error.cause.contains("127.0.0.3 no answer"), error.cause)
                }
            }
            withExtendedLifetime(silent) {}
        }
    }

    @Test("a client that stops reports each connect by name once", arguments: Setup.all)
    func stop(_ setup: Setup) throws {
        try Self.withEcho(setup) { port in
            let silent = try FullBacklog(at: .tcp("127.0.0.3", port: port))
            let resolver = TestResolver(["127.0.0.3"])
            let told = Shared<[String]>([])
            try Self.withClient(setup, resolver) { client in
                for _ in 0..<20 {
                    client.connect(to: Self.host(port), timeout: .seconds(600)) { result in
                        told.update { $0.append(word { "\(try result.get())" }) }
                    }
                }
                try eventually("all are on their way") { client.connectionCount == 20 }
                #expect(told.value == [])
            }
            #expect(told.value == Array(repeating: "system", count: 20))
            withExtendedLifetime(silent) {}
        }
    }

    @Test("a cancelled connect closes the sockets of its attempts", arguments: Setup.all)
    func cancel(_ setup: Setup) async throws {
        let listener = try RawListener()
        let port = try #require(listener.address.port)
        let silent = try FullBacklog(at: .tcp("127.0.0.3", port: port))
        let other = try FullBacklog(at: .tcp("127.0.0.4", port: port))
        // The first sleep of a task makes descriptors of the concurrency runtime.
        try await Task.sleep(for: .milliseconds(1))
        let before = Probe.descriptors
        let options = setup.options {
            $0.names.resolver = TestResolver(["127.0.0.3", "127.0.0.4"])
            $0.names.attemptDelay = .milliseconds(10)
        }
        let client = try Client(TestHandler(), options: options)
        try bounded("Client.start") { try client.start() }
        let running = Probe.descriptors
        let tasks = (0..<5).map { _ in
            Task { try await client.connect(to: Self.host(port), timeout: .seconds(600)) }
        }
        try eventually("all attempts run") { client.connectionCount == 10 }
        for task in tasks { task.cancel() }
        for task in tasks {
            let fate = try await patiently("the cancel") {
                await asyncWord {
                    _ = try await task.value
                    return "connected"
                }
            }
            #expect(fate == "CancellationError()")
        }
        try eventually("none is left") { client.connectionCount == 0 }
        try eventually("the sockets are closed") { Probe.descriptors <= running }
        try await patiently("await Client.stop") { await client.stop() }
        try eventually("every descriptor closed") { Probe.descriptors <= before }
        withExtendedLifetime((silent, other)) {}
    }

    @Test("connects by name, cancelled at any moment, leave nothing", arguments: Setup.all)
    func cancelAtAnyMoment(_ setup: Setup) async throws {
        try await withAsyncServer(setup, TestHandler()) { server in
            let port = try #require(server.addresses[0].port)
            let handler = TestHandler()
            let options = setup.options {
                $0.names.resolver = TestResolver(["127.0.0.2", "127.0.0.1"])
            }
            let client = try Client(handler, options: options)
            try bounded("Client.start") { try client.start() }
            try await Task.sleep(for: .milliseconds(1))
            let before = Probe.descriptors
            var random = SplitMix64(seed: 300)
            for _ in 0..<150 {
                let task = Task {
                    let handle = try await client.connect(to: Self.host(port))
                    handle.close()
                }
                let delay = Int.random(in: 0...800, using: &random)
                if delay > 100 { pause(.microseconds(delay - 100)) }
                task.cancel()
                let fate = try await patiently("the connect") {
                    await asyncWord {
                        try await task.value
                        return "done"
                    }
                }
                #expect(fate == "done" || fate == "CancellationError()", "\(fate)")
            }
            try eventually("the client has none left") { client.connectionCount == 0 }
            try eventually("every descriptor closed") { Probe.descriptors <= before }
            try await patiently("await Client.stop") { await client.stop() }
            handler.log.checkLives()
        }
    }

    @Test("a handler connects by name on its loop", arguments: Setup.all)
    func onTheLoop(_ setup: Setup) throws {
        let far = try RawListener()
        let port = try #require(far.address.port)
        let handler = TestHandler(open: { connection in
            guard connection.isAccepted else { return .none }
            connection.connect(to: Self.host(port)) { client, server in
                client.pipe(to: server)
                server.pipe(to: client)
            }
            return .none
        })
        let options = setup.options {
            $0.names.resolver = TestResolver(["127.0.0.2", "127.0.0.1"])
        }
        try withServer(setup, handler, listen: ["tcp://127.0.0.1:0"], options: options) { server in
            let client = try server.connect()
            try client.send("through")
            let peer = try far.accept()
            #expect(try peer.receiveText(exactly: 7) == "through")
            peer.close()
            client.close()
        }
    }

    @Test("a name of udp:// is connected", arguments: Setup.all)
    func datagrams(_ setup: Setup) throws {
        try withDatagramServer(setup) { server in
            let port = try #require(server.boundAddresses[0].port)
            let handler = TestHandler(traffic: { connection in
                connection.next().isEmpty ? .none : .close
            })
            try Self.withClient(setup, TestResolver(["127.0.0.1"]), handler: handler) { client in
                client.connect(to: .udp("peer.test", port: port)) { result in
                    try? result.get().write("ping")
                }
                try handler.log.waitFor(.close)
            }
        }
    }

    @Test("port 0 and a missing family are refused", arguments: Setup.single)
    func refusals(_ setup: Setup) throws {
        let resolver = TestResolver(["127.0.0.1"])
        try Self.withClient(setup, resolver) { client in
            let error = try Self.error(client, "tcp://peer.test:0")
            #expect(error.code == .invalidAddress && resolver.queries.isEmpty)
            let other = try Self.error(client, "tcp6://peer.test:1")
            #expect(other.code == .unresolved && other.step == .resolving)
            #expect(other.cause.contains("no address of IPv6"))
            #expect(resolver.queries[0].family == .v6)
            let broken = try Self.error(client, "tcp4://peer..test:1")
            #expect(broken.code == .invalidAddress && resolver.queries.count == 1)
        }
    }
}
