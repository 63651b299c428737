/// Tests of two servers on one port: one of them stops, and no connection that it accepted is lost.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct SharedPortTests {
    /// Runs `body` with two servers that have their own handlers.
    private func withTwo(
        _ setup: Setup, _ handlers: [TestHandler],
        _ body: (_ stopping: Server, _ staying: Server) throws -> Void
    ) throws {
        let options = setup.options { $0.reusePort = true }
        let first = try Server(handlers[0], listen: anyPort, options: options)
        try serve(first) { stopping in
            let second = try Server(handlers[1], listen: stopping.addresses, options: options)
            try serve(second) { try body(stopping.server, $0.server) }
        }
        for handler in handlers { handler.log.checkLives() }
    }

    @Test("a client in the backlog of a stopping server is served", arguments: Setup.all)
    func whoWaitsInTheBacklogOfTheOneThatStopsIsServed(_ setup: Setup) throws {
        let gate = Gate()
        let handlers = (0..<2).map { _ in TestHandler(traffic: gate.blocking()) }
        try withTwo(setup, handlers) { stopping, staying in
            defer { gate.open() }
            // The kernel picks among the listeners. Clients connect until each loop has one, so
            // some loops have more.
            var blockers: [TestClient] = []
            func isOnEachLoop() -> Bool {
                (stopping.loopStatistics + staying.loopStatistics).allSatisfy { $0.open > 0 }
            }
            for count in 1...200 where !isOnEachLoop() {
                blockers.append(try TestClient(to: stopping.boundAddresses[0]))
                try eventually("it is accepted") {
                    stopping.connectionCount + staying.connectionCount == count
                }
            }
            try #require(isOnEachLoop(), "the kernel never picked one of the loops")
            for blocker in blockers { try blocker.send("block") }
            try eventually("loops are blocked") { gate.guests >= 2 * setup.loops }
            let waiting = try (0..<40).map { _ in try TestClient(to: stopping.boundAddresses[0]) }
            for client in waiting { try client.send("hello") }
            stopping.requestStop()
            gate.open()
            for client in waiting {
                #expect(try client.receiveText(exactly: 5) == "hello")
                client.close()
            }
            for blocker in blockers { blocker.close() }
            #expect(
                stopping.statistics.accepted + staying.statistics.accepted
                    == blockers.count + waiting.count)
        }
    }

    /// The results of the clients' connections while one of the servers stopped.
    struct Fates: Sendable {
        var served = 0
        /// An end without an answer: the stop accepted a client that had sent no request yet.
        var ended = 0
        /// Reset by the kernel before either server had accepted it.
        var reset = 0
    }

    @Test(
        "a stopping server loses no accepted connection while clients keep connecting",
        arguments: Setup.all)
    func nobodyWhomItAcceptedIsLostWhileOthersKeepConnecting(_ setup: Setup) throws {
        let (threads, isOver) = (4, Shared(false))
        var fates = Fates()
        try withTwo(setup, [TestHandler(), TestHandler()]) { stopping, staying in
            let address = stopping.boundAddresses[0]
            let fate = Shared(Fates())
            let workers = (0..<threads).map { _ in
                Worker {
                    while !isOver.value { try Self.connectOnce(to: address, fate) }
                }
            }
            try eventually("both serve") {
                stopping.statistics.accepted > 50 && staying.statistics.accepted > 50
            }
            try bounded("stop") { stopping.stop(within: .seconds(5)) }
            let before = staying.statistics.accepted
            try eventually("the other one goes on") { staying.statistics.accepted > before + 100 }
            isOver.value = true
            for worker in workers { try worker.join("a connecting thread") }
            fates = fate.value
            #expect(
                fates.served + fates.ended
                    == stopping.statistics.accepted + staying.statistics.accepted, "\(fates)")
        }
        // Connections that the kernel had not yet handed over when the listener closed: at most one
        // of each thread, for each listener.
        #expect(fates.reset <= threads * setup.loops, "\(fates)")
    }

    static func connectOnce(to address: Address, _ fate: Shared<Fates>) throws {
        do {
            let client = try TestClient(to: address)
            try client.send("x")
            _ = try client.receive(exactly: 1)
            // No TIME_WAIT: thousands of such sockets would leave no free port.
            client.reset()
            fate.update { $0.served += 1 }
        } catch let early as EndedEarly where early.end == .clean {
            fate.update { $0.ended += 1 }
        } catch is EndedEarly, is SystemFailure {
            fate.update { $0.reset += 1 }
        }
    }
}
