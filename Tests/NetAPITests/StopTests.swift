/// Tests of stopping: quick when there is nothing to do, harmless when repeated, from any thread,
/// and the port is free again.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct StopTests {
    private func started(_ setup: Setup, _ handler: TestHandler = TestHandler()) throws -> Server {
        let server = try Server(handler, listen: anyPort, options: setup.options())
        try bounded("Server.start") { try server.start() }
        return server
    }

    @Test(
        "a stop without connections returns in less than fifty milliseconds",
        arguments: Setup.all)
    func withoutConnectionsItTakesLessThanFiftyMilliseconds(_ setup: Setup) throws {
        let limit = Probe.isSanitized ? patience : .milliseconds(50)
        try promptly("Server.stop", within: limit) {
            let server = try started(setup)
            return try bounded("Server.stop") { elapsed { server.stop() } }
        }
    }

    @Test(
        "further stops, also from other threads, return and call no callback twice",
        arguments: Setup.all)
    func aSecondStopIsHarmlessAlsoFromAnotherThread(_ setup: Setup) throws {
        let handler = TestHandler()
        let server = try started(setup, handler)
        let client = try TestClient(to: server.boundAddresses[0])
        #expect(try client.roundTrip("x"))
        let threads = (0..<4).map { _ in Worker { server.stop() } }
        #expect(try client.receiveEnd() == .clean)
        client.close()
        for thread in threads { try thread.join("Server.stop") }
        try bounded("another stop") { server.stop() }
        server.requestStop()
        #expect(handler.log.count(.shutdown) == 1)
        #expect(handler.log.count(.close) == 1)
        handler.log.checkLives()
    }

    /// Each stop returns when the threads have ended, also one that finds another in progress.
    @Test(
        "a second stop waits until the threads have ended, as the first does",
        arguments: Setup.all)
    func aSecondStopWaitsAsTheFirstDoes(_ setup: Setup) throws {
        /// The last object that a loop's thread releases.
        final class Kept: Sendable {
            let gate: Gate
            let isGone: Shared<Bool>

            init(_ gate: Gate, _ isGone: Shared<Bool>) {
                self.gate = gate
                self.isGone = isGone
            }

            deinit {
                gate.wait()
                isGone.value = true
            }
        }
        struct Handler: EventHandler {
            func onTraffic(_ connection: Connection) -> Action { .none }
        }
        let (gate, isGone) = (Gate(), Shared(false))
        func makeServer() throws -> Server {
            let kept = Kept(gate, isGone)
            return try Server(listen: anyPort, options: setup.options()) {
                withExtendedLifetime(kept) { Handler() }
            }
        }
        let server = try makeServer()
        try bounded("Server.start") { try server.start() }
        let begun = Shared(0)
        let stops = (0..<3).map { _ in
            Worker {
                begun.update { $0 += 1 }
                server.stop()
                return isGone.value
            }
        }
        try eventually("a thread is about to end") { gate.isReached && begun.value == 3 }
        // Long enough for a stop that does not wait to return.
        pause(.milliseconds(50))
        gate.open()
        for stop in stops { #expect(try stop.join("Server.stop")) }
    }

    @Test("a stop of a server that never started returns and has no effect", arguments: Setup.all)
    func stoppingWhatNeverStartedIsHarmless(_ setup: Setup) throws {
        let server = try Server(TestHandler(), listen: anyPort, options: setup.options())
        server.requestStop()
        try bounded("Server.stop") { server.stop() }
        #expect(server.boundAddresses.isEmpty && server.connectionCount == 0)
        #expect(server.statistics.accepted == 0)
        server.forEachConnection { $0.close() }
    }

    @Test(
        "requestStop in a callback returns at once, and the server stops",
        arguments: Setup.all, ActionTests.Place.allCases)
    func requestStopFromACallbackReturnsAtOnceAndStops(
        _ setup: Setup, _ place: ActionTests.Place
    ) throws {
        let handler = place.handler { connection in
            connection.server.requestStop()
            connection.write("last words")
            return .none
        }
        let server = try Server(handler, listen: anyPort, options: place.options(setup))
        try bounded("Server.start") { try server.start() }
        let running = Worker { try server.run().name }
        let client = try TestClient(to: server.boundAddresses[0])
        try place.provoke(client)
        _ = try client.receive(exactly: place.prefix)
        #expect(try client.receiveTextUntilEnd() == ("last words", .clean))
        client.close()
        #expect(try running.join("Server.run") == "stopped")
        handler.log.checkLives()
    }

    @Test("a stop called on a loop does not hang", arguments: Setup.all)
    func stopOnALoopDoesNotHang(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            connection.server.stop()
            return try TestHandler.echo(connection)
        })
        let server = try started(setup, handler)
        let running = Worker { try server.run().name }
        let client = try TestClient(to: server.boundAddresses[0])
        try client.send("x")
        #expect(try client.receiveTextUntilEnd() == ("x", .clean))
        client.close()
        #expect(try running.join("Server.run") == "stopped")
    }

    @Test("a connect after stop fails", arguments: Setup.all)
    func nobodyCanConnectAfterStop(_ setup: Setup) throws {
        let server = try started(setup)
        let address = server.boundAddresses[0]
        try bounded("Server.stop") { server.stop() }
        #expect(throws: SystemFailure.self) { try TestClient(to: address) }
    }

    @Test("the next server can bind the same port at once", arguments: Setup.all)
    func theNextServerTakesThePortAtOnce(_ setup: Setup) throws {
        var address = anyPort
        for round in 0..<5 {
            try withServer(setup, listen: [address]) { server in
                address = server.addresses[0]
                let clients = try (0..<5).map { _ in try server.connect() }
                for client in clients { #expect(try client.roundTrip("round \(round)")) }
                // The server ends first, so that its side is the one in TIME_WAIT.
                server.server.forEachConnection { $0.close() }
                for client in clients { #expect(try client.receiveEnd() == .clean) }
            }
        }
    }

    /// Starts a server whose only client has much more pending output than the kernel accepts.
    private func startedWithAPeerThatNeverReads(
        _ setup: Setup
    ) throws -> (Server, TestHandler, TestClient) {
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            connection.write([UInt8](repeating: 1, count: 32 << 20))
            return .none
        })
        let server = try started(setup, handler)
        let client = try TestClient(to: server.boundAddresses[0], receiveBuffer: 4096)
        try client.send("x")
        try handler.log.waitFor(.traffic)
        return (server, handler, client)
    }

    @Test("a peer that never reads does not delay a stop beyond its time limit")
    func aPeerThatNeverReadsDoesNotHoldUpAStopBeyondItsLimit() async {
        await sideBySide(Setup.all) { setup in
            try promptly("Server.stop", within: .seconds(3)) {
                let (server, handler, client) = try startedWithAPeerThatNeverReads(setup)
                let time = try bounded("Server.stop") {
                    elapsed { server.stop(within: .seconds(1)) }
                }
                #expect(server.connectionCount == 0)
                #expect(handler.log.count(.close) == 1)
                let (bytes, end) = try client.receiveUntilEnd()
                #expect(bytes.count < 32 << 20)
                #expect(end.isReset, "what was cut off must not look complete")
                return time
            }
        }
    }

    /// In either order, and whether or not the drain has begun at the second stop.
    @Test("of two stops at the same time, the shorter time limit counts", arguments: Setup.all)
    func ofTwoStopsTheShorterTimeCounts(_ setup: Setup) throws {
        let (server, _, client) = try startedWithAPeerThatNeverReads(setup)
        let stoppers = [Duration.seconds(300), .milliseconds(200)].map { limit in
            Worker { server.stop(within: limit) }
        }
        for stopper in stoppers { try stopper.join("Server.stop") }
        client.close()
    }

    @Test("run starts the server and returns when it stops", arguments: Setup.all)
    func runStartsTheServerAndReturnsWhenItStops(_ setup: Setup) throws {
        let handler = TestHandler()
        let server = try Server(handler, listen: anyPort, options: setup.options())
        let running = Worker { try server.run().name }
        try eventually("the server is bound") { !server.boundAddresses.isEmpty }
        let client = try TestClient(to: server.boundAddresses[0])
        #expect(try client.roundTrip("x"))
        #expect(!running.isDone)
        server.requestStop()
        #expect(try client.receiveEnd() == .clean)
        client.close()
        #expect(try running.join("Server.run") == "stopped")
        #expect(try bounded("run again") { try server.run().name } == "stopped")
    }

    @Test("a server without references continues until it is stopped", arguments: Setup.all)
    func aServerNobodyHoldsGoesOnUntilItIsStopped(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            if connection.next().equals("stop") { connection.server.requestStop() }
            connection.write("ok")
            return .none
        })
        let address = try started(setup, handler).boundAddresses[0]
        let client = try TestClient(to: address)
        try client.send("hello")
        #expect(try client.receiveText(exactly: 2) == "ok")
        try client.send("stop")
        #expect(try client.receiveTextUntilEnd() == ("ok", .clean))
        client.close()
        try handler.log.waitFor(.shutdown)
    }
}
