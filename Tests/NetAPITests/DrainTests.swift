/// Tests of a stop under load: bytes that the server has read come back, waiting clients are
/// served, no client is reset.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct DrainTests {
    /// At its deadline a stop resets the clients that have not read everything, and half of the
    /// time is for that. So a slow machine gets more time.
    @Test(
        "a stop during streams returns all bytes that were read, and then a clean end",
        arguments: Setup.all)
    func clientsInTheMiddleOfStreamsGetBackAllThatWasTakenAndACleanEnd(_ setup: Setup) throws {
        try withGrowingTime(from: .seconds(1)) { limit in
            try Self.stopDuringStreams(setup, within: limit)
        }
    }

    private static func stopDuringStreams(_ setup: Setup, within limit: Duration) throws {
        let taken = PerConnection(0)
        let (begun, totals) = (Shared<Set<String>>([]), Shared<[String: Int]>([:]))
        let handler = TestHandler(
            traffic: { connection in
                if connection[taken] == 0 {
                    let name = "\(connection.remoteAddress)"
                    begun.update { _ = $0.insert(name) }
                }
                connection[taken] += connection.buffered
                return try TestHandler.echo(connection)
            },
            close: { connection, _ in
                let (name, count) = ("\(connection.remoteAddress)", connection[taken])
                totals.update { $0[name] = count }
                return .none
            })
        let server = try Server(handler, listen: anyPort, options: setup.options())
        try serve(server) { server in
            var flows = try (0..<8).map { index in
                var flow = Flow(try server.connect(), stream: index, length: 1 << 40)
                flow.mayEndEarly = true
                flow.chunks = 100...30_000
                return flow
            }
            let names = try flows.map { try $0.client.localText }
            let stopper = Worker {
                try eventually("bytes of each client") { begun.value.count == names.count }
                server.server.stop(within: limit)
            }
            try Exchange.run(&flows)
            for (flow, name) in zip(flows, names) {
                flow.client.close()
                try must(flow.end == .clean, "\(name): \(String(describing: flow.end))")
                #expect(flow.received > 0)
                try eventually("onClose of \(name)") { totals.value[name] != nil }
                #expect(flow.received == totals.value[name])
            }
            try stopper.join("Server.stop")
        }
        handler.log.checkLives()
    }

    @Test("a stop during an answer delivers the whole answer and a clean end", arguments: Setup.all)
    func aRequestThatIsBeingAnsweredIsAnswered(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            connection.write([UInt8](repeating: 1, count: 16 << 20))
            connection.server.requestStop()
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect(receiveBuffer: 16_384)
            try client.send("x")
            let (bytes, end) = try client.receiveUntilEnd()
            #expect(bytes.count == 16 << 20)
            #expect(end == .clean)
        }
    }

    /// Closing a listener resets the connections in its backlog; accepting them first does not.
    @Test("a stop serves twenty clients that wait in the backlog", arguments: Setup.all)
    func twentyClientsWaitingInTheBacklogAreServed(_ setup: Setup) throws {
        let gate = Gate()
        let handler = TestHandler(traffic: gate.blocking())
        // A handshake would need the loops that are held up.
        try withServer(setup, handler, listen: ["tcp://127.0.0.1:0"]) { server in
            defer { gate.open() }
            let blockers = try (0..<setup.loops).map { _ in try server.connect() }
            try handler.log.waitFor(.open, count: setup.loops)
            for blocker in blockers { try blocker.send("block") }
            try eventually("all loops blocked") { gate.guests == setup.loops }
            let waiting = try (0..<20).map { _ in try server.connect() }
            for client in waiting { try client.send("hello") }
            server.server.requestStop()
            gate.open()
            for client in waiting {
                #expect(try client.receiveTextUntilEnd() == ("hello", .clean))
                client.close()
            }
            for blocker in blockers { #expect(try blocker.receiveEnd() == .clean) }
        }
        #expect(handler.log.count(.open) == 20 + setup.loops)
    }

    /// Silence does not count while the loop does not receive. There are more requests than a ring
    /// has buffers, so some are received only after others were answered, slowly.
    @Test("a stop answers requests that wait behind slow ones")
    func requestsThatWaitForSlowOnesAreAnswered() async {
        await sideBySide(Setup.all) { setup in
            let gate = Gate()
            let handler = TestHandler(
                traffic: gate.blocking { connection in
                    pause(.milliseconds(5))
                    return try TestHandler.echo(connection)
                })
            try withServer(setup, handler) { server in
                defer { gate.open() }
                let blockers = try (0..<setup.loops).map { _ in try server.connect() }
                try handler.log.waitFor(.open, count: setup.loops)
                let clients = try (0..<80 * setup.loops).map { _ in try server.connect() }
                try handler.log.waitFor(.open, count: clients.count + setup.loops)
                for blocker in blockers { try blocker.send("block") }
                try eventually("all loops blocked") { gate.guests == setup.loops }
                for client in clients { try client.send("hello") }
                // Half of it is for connections with requests, on a machine that may be slow.
                server.server.requestStop(within: patience * 8)
                gate.open()
                let answers = try clients.map { client in
                    defer { client.close() }
                    return try client.receiveTextUntilEnd().text
                }
                #expect(answers.count { $0 == "hello" } == clients.count)
            }
        }
    }

    @Test("a stop closes silent clients in the backlog with a clean end")
    func silentClientsInTheBacklogGetACleanEnd() async {
        await sideBySide(Setup.all) { setup in
            for _ in 0..<10 {
                let handler = TestHandler()
                let server = try Server(handler, listen: anyPort, options: setup.options())
                try bounded("Server.start") { try server.start() }
                let clients = try (0..<20).map { _ in try TestClient(to: server.boundAddresses[0]) }
                server.requestStop()
                for client in clients {
                    #expect(try client.receiveEnd() == .clean)
                    client.close()
                }
                try bounded("Server.stop") { server.stop() }
                #expect(handler.log.count(.close) == 20)
                handler.log.checkLives()
            }
        }
    }

    @Test(
        "connections that arrive during a stop are served or refused and not reset by the server",
        arguments: Setup.all)
    func manyConnectionsThatComeWhileStoppingAreServedOrRefusedButNotReset(
        _ setup: Setup
    ) throws {
        let handler = TestHandler()
        let server = try Server(handler, listen: anyPort, options: setup.options())
        try bounded("Server.start") { try server.start() }
        let address = server.boundAddresses[0]
        let served = Shared(0)
        let resets = Shared(0)
        let threads = (0..<4).map { _ in
            Worker {
                let clock = ContinuousClock()
                var begun = clock.now
                while let client = try? TestClient(to: address) {
                    // A client that is reset may notice it when it sends.
                    _ = try? client.send("x")
                    // A new connection has 100 ms for its first bytes. On a busy machine a client
                    // may need longer.
                    let isInTime = clock.now - begun < .milliseconds(90)
                    let (text, end) = try client.receiveOne()
                    if text == "x" { served.update { $0 += 1 } }
                    if case .reset = end { resets.update { $0 += 1 } }
                    #expect(
                        text == "x" || end != .clean || !isInTime, "an end in place of an answer")
                    begun = clock.now
                }
            }
        }
        try eventually("each thread is served") { served.value > 10 * threads.count }
        try bounded("Server.stop") { server.stop(within: .seconds(5)) }
        for thread in threads { try thread.join("a connecting thread") }
        // A connect that races with the listener's close may be reset by the kernel: one for each
        // thread. No other connection is reset, and every request that was read has its answer.
        #expect(resets.value <= threads.count)
        #expect(served.value == handler.log.count(.traffic))
        handler.log.checkLives()
    }
}

extension TestClient {
    /// Returns one byte, or the end that came instead.
    fileprivate func receiveOne() throws -> (String, StreamEnd?) {
        do {
            return (try receiveText(exactly: 1), nil)
        } catch let early as EndedEarly {
            return ("", early.end)
        }
    }
}
