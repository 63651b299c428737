/// Tests of addresses that a running server begins and ends to listen on.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ListeningTests {
    /// One acceptor for all loops, or a listener for each.
    static let shares = [false, true]

    private func isRefused(_ address: Address) -> Bool {
        (try? TestClient(to: address)) == nil
    }

    @Test(
        "a running server serves a further address, and ends to serve one",
        arguments: Setup.all, shares)
    func listensAndStops(_ setup: Setup, _ reusePort: Bool) throws {
        let options = setup.options { $0.reusePort = reusePort }
        try withServer(setup, options: options) { test in
            let (server, first) = (test.server, test.addresses[0])
            let early = try TestClient(to: first)
            #expect(try early.roundTrip("early"))
            let second = try server.listen(on: anyPort)
            #expect(server.boundAddresses == [first, second])
            for number in 0..<6 {
                let client = try TestClient(to: number % 2 == 0 ? first : second)
                #expect(try client.roundTrip("\(number)"))
            }
            try bounded("stopListening") { try server.stopListening(on: first) }
            #expect(server.boundAddresses == [second])
            #expect(isRefused(first))
            #expect(try early.roundTrip("still here"))
            #expect(try TestClient(to: second).roundTrip("second"))
            try bounded("stopListening") { try server.stopListening(on: second) }
            #expect(server.boundAddresses == [])
            #expect(try early.roundTrip("without an address"))
            let third = try server.listen(on: anyPort)
            #expect(try TestClient(to: third).roundTrip("third"))
        }
    }

    /// The address is free when the call returns, so the next bind does not fail.
    @Test("an address can be listened on again at once, fifty times", arguments: Setup.all)
    func listensAgain(_ setup: Setup) async throws {
        try await withAsyncServer(setup, TestHandler()) { test in
            let address = test.addresses[0]
            for number in 0..<50 {
                try await test.server.stopListening(on: address)
                try await test.server.listen(on: address)
                #expect(try TestClient(to: address).roundTrip("\(number)"))
            }
        }
    }

    @Test("clients in the backlog of an address that ends are served", arguments: Setup.single)
    func servesTheBacklog(_ setup: Setup) throws {
        let gate = Gate()
        defer { gate.open() }
        let handler = TestHandler(traffic: gate.blocking())
        // A handshake would need the loop that is held up.
        try withServer(setup, handler, listen: ["tcp://127.0.0.1:0"]) { test in
            let blocker = try test.connect()
            try blocker.send("block")
            try eventually("the loop is held up") { gate.isReached }
            let clients = try (0..<20).map { _ in try test.connect() }
            for client in clients { try client.send("hello") }
            let (server, address) = (test.server, test.addresses[0])
            let stopping = Worker { try server.stopListening(on: address) }
            try eventually("it is taken off the list") { server.boundAddresses.isEmpty }
            gate.open()
            try stopping.join("stopListening")
            for client in clients { #expect(try client.receiveText(exactly: 5) == "hello") }
            #expect(isRefused(address))
        }
    }

    @Test("each impossible address and state is a typed error", arguments: Setup.all)
    func refuses(_ setup: Setup) throws {
        func code(_ body: () throws -> Void) -> NetError.Code? {
            do {
                try body()
                return nil
            } catch {
                return (error as? NetError)?.code
            }
        }
        let server = try Server(TestHandler(), listen: anyPort, options: setup.options())
        #expect(code { try server.listen(on: anyPort) } == .unsupported)
        #expect(code { try server.stopListening(on: anyPort) } == .unsupported)
        try serve(server) { test in
            let address = test.addresses[0]
            #expect(code { try server.listen(on: address) } == .addressInUse)
            #expect(code { try server.listen(on: "udp://127.0.0.1:0") } == .unsupported)
            #expect(code { try server.listen(on: "tcp://127.0.0.1:x") } == .invalidAddress)
            #expect(code { try server.stopListening(on: "tcp://127.0.0.1:1") } == .invalidAddress)
            #expect(server.boundAddresses == [address])
            try server.stopListening(on: address)
            #expect(code { try server.stopListening(on: address) } == .invalidAddress)
            #expect(code { _ = try server.duplicateListeners(of: address) } == .invalidAddress)
        }
        #expect(code { try server.listen(on: anyPort) } == .closed)
        #expect(code { try server.stopListening(on: anyPort) } == .closed)
    }

    @Test("an inherited listener is served, and closed by an error", arguments: Setup.all)
    func inherits(_ setup: Setup) throws {
        let number = try elevated(plainListener())
        let server = try Server(TestHandler(), listen: anyPort, options: setup.options())
        #expect(throws: NetError.self) { try server.listen(on: .inherited(number)) }
        #expect(!isOpen(number))
        try serve(server) { _ in
            let good = try elevated(plainListener())
            let address = try server.listen(on: .inherited(good))
            if !TestTLS.isOn { #expect(try TestClient(to: address).roundTrip("inherited")) }
            // It has an owner already, which alone closes it.
            #expect(throws: NetError.self) { try server.listen(on: .inherited(good)) }
            #expect(isOpen(good))
            let plain = try elevated(plainStream())
            #expect(throws: NetError.self) { try server.listen(on: .inherited(plain)) }
            #expect(!isOpen(plain))
            try server.stopListening(on: address)
            #expect(!isOpen(good))
        }
    }

    @Test("a Unix path ends with its address, and can be bound anew", arguments: Setup.all)
    func unixPaths(_ setup: Setup) throws {
        try withServer(setup) { test in
            let path = TemporaryPath.make()
            for _ in 0..<3 {
                let address = try test.server.listen(on: .unix(path))
                #expect(try TestClient(to: address).roundTrip("unix"))
                try test.server.stopListening(on: address)
                #expect(access(path, F_OK) != 0)
            }
        }
    }

    /// Neither call may wait for the loop that makes it.
    @Test("callbacks may begin and end to listen, but not look a name up", arguments: Setup.all)
    func inCallbacks(_ setup: Setup) throws {
        let (inBoot, named) = (Shared<Address?>(nil), Shared<NetError.Code?>(nil))
        let handler = TestHandler(
            boot: { loop in
                inBoot.value = try loop.server.listen(on: anyPort)
                return .none
            },
            traffic: { connection in
                if connection.bytes.equals("stop"), let address = inBoot.value {
                    try connection.server.stopListening(on: address)
                    do {
                        try connection.server.listen(on: "tcp://a.example:0")
                    } catch let error as NetError {
                        named.value = error.code
                    }
                }
                return try TestHandler.echo(connection)
            })
        try withServer(setup, handler) { test in
            let added = try #require(inBoot.value)
            #expect(test.addresses.count == 2)
            let client = try TestClient(to: added)
            #expect(try client.roundTrip("hello"))
            #expect(try client.roundTrip("stop"))
            #expect(named.value == .unsupported)
            try eventually("the address is closed") { isRefused(added) }
            #expect(try test.connect().roundTrip("the first one stays"))
        }
    }

    @Test("the server of a client listens on nothing", arguments: Setup.single)
    func clients(_ setup: Setup) throws {
        let refused = Shared<NetError.Code?>(nil)
        let handler = TestHandler(boot: { loop in
            do {
                try loop.server.listen(on: anyPort)
            } catch let error as NetError {
                refused.value = error.code
            }
            return .none
        })
        let client = try Client(handler, options: setup.options())
        try client.start()
        try bounded("stop") { client.stop() }
        #expect(refused.value == .unsupported)
    }

    @Test("a name is looked up, and a stop ends that", arguments: Setup.all)
    func hostNames(_ setup: Setup) async throws {
        let resolver = TestResolver(["127.0.0.7"])
        let options = setup.options { $0.names.resolver = resolver }
        try await withAsyncServer(setup, TestHandler(), options: options) { test in
            let address = try await test.server.listen(on: "tcp://added.test:0")
            #expect(address.description.hasPrefix("tcp://127.0.0.7:"))
            #expect(try TestClient(to: address).roundTrip("by name"))
            try await test.server.stopListening(on: "tcp://added.test:0")
            #expect(test.addresses.count == 1)
        }
        let silent = TestResolver.silent()
        let server = try Server(
            TestHandler(), listen: anyPort,
            options: setup.options {
                $0.names.resolver = silent
                $0.names.startTimeout = .seconds(3600)
            })
        try bounded("start") { try server.start() }
        let waiting = Task { try await server.listen(on: "tcp://never.test:0") }
        try eventually("the question") { !silent.queries.isEmpty }
        await server.stop()
        let error = await #expect(throws: NetError.self) {
            try await patiently("listen") { try await waiting.value }
        }
        #expect(error?.code == .closed)
    }

    @Test("sockets for datagrams end like others", arguments: Setup.all)
    func datagrams(_ setup: Setup) throws {
        try withDatagramServer(setup) { server in
            let address = server.boundAddresses[0]
            let peer = try DatagramPeer(to: address)
            try peer.send([1, 2, 3])
            let answer = try peer.receive()
            #expect(answer == [1, 2, 3])
            try bounded("stopListening") { try server.stopListening(on: address) }
            #expect(server.boundAddresses == [])
        }
    }

    @Test("an address that was handed out is left to the other server", arguments: Setup.all)
    func handedOut(_ setup: Setup) throws {
        try withServer(setup) { first in
            let address = first.addresses[0]
            let copies = try first.server.duplicateListeners(of: address)
            try bounded("stopListening") { try first.server.stopListening(on: address) }
            let early = Worker { try TestClient(to: address).roundTrip("waits for the next") }
            try withServer(setup, listen: copies.map { .inherited($0) }) { second in
                if !TestTLS.isOn {
                    let isServed = try early.join("the client in the backlog")
                    #expect(isServed)
                }
                #expect(second.addresses.count == 1)
            }
        }
    }

    /// Of clients in the backlog none is reset, so the limit does not hold for them.
    @Test("an address ends also at the limit of connections", arguments: Setup.all)
    func atTheLimit(_ setup: Setup) throws {
        let options = setup.options { $0.limits.connections = 2 }
        let handler = TestHandler()
        try withServer(setup, handler, listen: ["tcp://127.0.0.1:0"], options: options) { test in
            let clients = try (0..<6).map { _ in try test.connect() }
            for client in clients { try client.send("hello") }
            try eventually("two are served") { handler.log.count(.open) >= 2 }
            let address = test.addresses[0]
            try bounded("stopListening") { try test.server.stopListening(on: address) }
            for client in clients {
                let text = try client.receiveText(exactly: 5)
                #expect(text == "hello")
                client.close()
            }
        }
    }

    /// The loops are only being made when the addresses are known.
    @Test("an address may end while the server starts", arguments: Setup.all, shares)
    func whileStarting(_ setup: Setup, _ reusePort: Bool) throws {
        for _ in 0..<20 {
            let server = try Server(
                TestHandler(), listen: anyPort,
                options: setup.options {
                    $0.reusePort = reusePort
                    $0.loops = .count(setup.loops * 2)
                })
            let starting = Worker { try server.start() }
            let deadline = Deadline()
            while server.boundAddresses.isEmpty { try deadline.check("the addresses") }
            let address = server.boundAddresses[0]
            let ending = Worker { try server.stopListening(on: address) }
            try starting.join("start")
            try ending.join("stopListening")
            #expect(isRefused(address))
            try bounded("stop") { server.stop() }
        }
    }

    /// Whichever comes first, each call returns, and nothing stays open.
    @Test("threads that listen and stop, and a stop of the server, all end", arguments: Setup.all)
    func churns(_ setup: Setup) throws {
        for round in 0..<4 {
            let before = names(in: "/proc/self/fd").count
            let server = try Server(
                TestHandler(), listen: anyPort,
                options: setup.options { $0.reusePort = round % 2 == 1 })
            try bounded("start") { try server.start() }
            let rounds = Shared(0)
            let workers = (0..<4).map { _ in
                Worker {
                    for _ in 0..<200 {
                        guard let address = try? server.listen(on: anyPort) else { return }
                        let client = try? TestClient(to: address)
                        try? server.stopListening(on: address)
                        client?.close()
                        rounds.update { $0 += 1 }
                    }
                }
            }
            try eventually("some rounds") { rounds.value >= 40 }
            try bounded("stop") { server.stop(within: .seconds(5)) }
            for worker in workers { try worker.join("a listening thread") }
            try eventually("descriptors are closed") {
                names(in: "/proc/self/fd").count <= before
            }
        }
    }
}
