/// Tests of listening sockets that go to the next server while this one stops, unnoticed by
/// clients.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct HandingOutTests {
    static let kinds: [EchoKind] = [.tcp, .unix]

    @Test(
        "no client is refused while the next server replaces the first",
        arguments: Setup.all, kinds)
    func nobodyIsRefusedWhileTheNextServerTakesOver(_ setup: Setup, _ kind: EchoKind) throws {
        let (fate, isOver) = (Shared(SharedPortTests.Fates()), Shared(false))
        let first = try Server(TestHandler(), listen: kind.address, options: setup.options())
        try bounded("start") { try first.start() }
        let address = first.boundAddresses[0]
        let workers = (0..<4).map { _ in
            Worker { while !isOver.value { try SharedPortTests.connectOnce(to: address, fate) } }
        }
        let copies = try first.duplicateListeners(of: address)
        #expect(copies.count == 1)
        for copy in copies { #expect(fcntl(copy, F_GETFD) & FD_CLOEXEC != 0) }
        let second = try Server(
            TestHandler(), listen: copies.map { .inherited($0) }, options: setup.options())
        try serve(second) { second in
            #expect(second.addresses == [address])
            // The kernel decides which of two waiting loops it wakes.
            let started = first.statistics.accepted + second.server.statistics.accepted
            try eventually("they serve") {
                first.statistics.accepted + second.server.statistics.accepted > started + 100
            }
            try bounded("stop") { first.stop(within: .seconds(5)) }
            let before = second.server.statistics.accepted
            try eventually("the next one goes on") {
                second.server.statistics.accepted > before + 100
            }
            isOver.value = true
            for worker in workers { try worker.join("a connecting thread") }
        }
        #expect(fate.value.reset == 0, "refused or reset: \(fate.value)")
        #expect(
            fate.value.served + fate.value.ended
                == first.statistics.accepted + second.statistics.accepted)
    }

    /// The socket is open as long as the copy is: a client that connects while no server runs
    /// waits.
    @Test(
        "a duplicated listener keeps the port and the waiting clients",
        arguments: Setup.all, kinds)
    func aCopyKeepsThePortAndWhoWaits(_ setup: Setup, _ kind: EchoKind) throws {
        let first = try Server(TestHandler(), listen: kind.address, options: setup.options())
        try bounded("start") { try first.start() }
        let address = first.boundAddresses[0]
        let copies = try first.duplicateListeners(of: address)
        try bounded("stop") { first.stop() }
        let early = try TestClient(to: address)
        try early.send("hello")
        let error = #expect(throws: NetError.self) { try first.duplicateListeners(of: address) }
        #expect(error?.code == .closed)
        try withServer(setup, listen: copies.map { .inherited($0) }) { _ in
            let answer = try early.receiveText(exactly: 5)
            #expect(answer == "hello")
            early.close()
        }
        // Both servers left the path; the next bind replaces a dead socket.
        try withServer(setup, listen: [address]) { server in
            let client = try server.connect()
            let isSame = try client.roundTrip("x")
            #expect(isSame)
        }
    }

    /// The loop is blocked, so that all clients are in the backlog when the stop is requested. The
    /// stop does not accept them: the next server can do that at once.
    @Test(
        "clients that wait at a stop are served by the next server",
        arguments: Setup.single, kinds)
    func whoWaitsWhenItStopsIsTheNextServers(_ setup: Setup, _ kind: EchoKind) throws {
        let gate = Gate()
        defer { gate.open() }
        let handler = TestHandler(traffic: { connection in
            guard connection.bytes.equals("block") else { return try TestHandler.echo(connection) }
            connection.discardAll()
            gate.wait()
            return .none
        })
        let first = try Server(handler, listen: kind.address, options: setup.options())
        try bounded("start") { try first.start() }
        let address = first.boundAddresses[0]
        let copies = try first.duplicateListeners(of: address)
        let blocker = try TestClient(to: address)
        try blocker.send("block")
        try eventually("the loop is held up") { gate.isReached }
        let clients = try (0..<50).map { _ in try TestClient(to: address) }
        for client in clients { try client.send("hello") }
        first.requestStop()
        gate.open()
        blocker.close()
        try bounded("stop") { first.stop() }
        handler.log.checkLives()
        try withServer(setup, listen: copies.map { .inherited($0) }) { second in
            for client in clients {
                let answer = try client.receiveText(exactly: 5)
                #expect(answer == "hello")
                client.close()
            }
            // A driver may have been accepting when the stop came; those clients were served too.
            let accepted = (first.statistics.accepted - 1, second.server.statistics.accepted)
            #expect(accepted.0 + accepted.1 == clients.count)
            #expect(accepted.1 >= clients.count / 3, "\(accepted)")
        }
    }

    @Test(
        "a Unix path remains after the stop only if its listener was duplicated",
        arguments: Setup.all)
    func aPathStaysWhereItWasHandedOutAndOnlyThere(_ setup: Setup) throws {
        let (kept, removed) = (TemporaryPath.make(), TemporaryPath.make())
        try withServer(setup, listen: [.unix(kept), .unix(removed)]) { server in
            for copy in try server.server.duplicateListeners(of: .unix(kept)) { close(copy) }
        }
        #expect(TemporaryPath.exists(kept) && !TemporaryPath.exists(removed))
        unlink(kept)
    }

    @Test(
        "with reusePort, duplicateListeners returns one descriptor for each loop",
        arguments: Setup.several)
    func withReusePortThereIsOneForEachLoop(_ setup: Setup) throws {
        let options = setup.options { $0.reusePort = true }
        try withServer(setup, options: options) { server in
            let copies = try server.server.duplicateListeners(of: anyPort)
            #expect(copies.count == setup.loops)
            try withServer(setup, listen: copies.map { .inherited($0) }) { second in
                #expect(second.addresses == copies.map { _ in server.addresses[0] })
                for _ in 0..<20 {
                    let isSame = try server.connect().roundTrip("x")
                    #expect(isSame)
                }
            }
        }
    }

    @Test(
        "duplicateListeners throws an error with cause and remedy if it cannot duplicate",
        arguments: Setup.single)
    func whatCannotBeHandedOutIsRefusedInWords(_ setup: Setup) throws {
        let booted = Shared(0)
        var handler = DatagramTestHandler()
        handler.boot = { loop in
            let copies = try loop.server.duplicateListeners(of: anyPort)
            booted.value = copies.count
            for copy in copies { close(copy) }
        }
        let server = try Server(
            handler, listen: anyPort, "udp://127.0.0.1:0", options: setup.options())
        func code(_ address: Address) -> NetError.Code? {
            let error = #expect(throws: NetError.self) {
                try server.duplicateListeners(of: address)
            }
            #expect(error?.remedy.isEmpty == false)
            #expect(error?.cause.contains(address.description) == true)
            return error?.code
        }
        #expect(code(anyPort) == .unsupported)
        try serve(server) { _ in
            #expect(booted.value == 1)
            #expect(code("tcp://127.0.0.1:1") == .invalidAddress)
            #expect(code("udp://127.0.0.1:0") == .unsupported)
        }
        #expect(code(anyPort) == .closed)
    }
}
