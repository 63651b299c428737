/// Tests of virtual time: ticks, timers, stops and scripts.
import NetAPI
import NetAPITesting
import Testing

@Suite struct ClockTests {
    private struct Ticking: EventHandler {
        func onTick(_ loop: Loop) -> Tick {
            for connection in loop.connections { connection.write("t") }
            return .after(.seconds(10))
        }

        func onTraffic(_ connection: Connection) -> Action {
            let text = String(decoding: connection.next())
            connection.schedule(after: .milliseconds(1500)) { $0.write(text) }
            return .none
        }
    }

    @Test("ticks and timers run when their time has come", arguments: [1, 2])
    func timers(_ loops: Int) throws {
        let server = try TestServer(options: options(loops: loops)) { Ticking() }
        let peer = try server.connect()
        server.advance(by: .seconds(35))
        #expect(peer.take() == "ttt")
        peer.send("a")
        server.advance(by: .milliseconds(1499))
        #expect(peer.take().isEmpty)
        server.advance(by: .milliseconds(1))
        #expect(peer.take() == "a")
    }

    @Test("a script's steps run in the order of their times, and may send")
    func script() throws {
        let server = try TestServer(LineHandler())
        let peer = try server.connect()
        server.network.after(.seconds(2)) { peer.send("B\r\n") }
        server.network.after(.seconds(1)) { peer.send("A\r\n") }
        server.network.after(.seconds(3)) { peer.finish() }
        #expect(peer.received.isEmpty)
        server.advance(by: .seconds(2))
        #expect(peer.received.lines == ["-A?", "-B?"] && peer.end == .open)
        server.advance(by: .seconds(1))
        #expect(peer.end == .closed && server.closes == [.peer])
    }

    /// Durations that no clock runs for, and that cannot be added to each other.
    private static let beyond: [Duration] = [
        .seconds(Int64.max) * 2, .seconds(Int64.max) * 18,
    ]

    @Test("the clock takes every duration, and a server still stops behind them", arguments: beyond)
    func everyDuration(_ time: Duration) throws {
        var options = options(loops: 1)
        options.timeouts.linger = time
        options.timeouts.close = time
        let server = try TestServer(EchoHandler(), options: options)
        let peer = try server.connect()
        server.network.after(time) {}
        server.network.after(.zero - time) { peer.send("a") }
        server.advance(by: .zero - time)
        #expect(peer.take() == "a" && server.network.now == .zero)
        for _ in 0..<3 { server.advance(by: time) }
        peer.send("b")
        #expect(peer.take() == "b")
        try server.stop(within: time)
        #expect(peer.end == .closed)
    }

    @Test("a client stops within every duration", arguments: beyond)
    func clientStops(_ time: Duration) throws {
        let network = TestNetwork()
        let client = try network.client(EchoHandler())
        network.stop(client, within: time)
        try network.checkProblems()
    }

    @Test("a peer that reads with a period of zero or less leaves the clock running")
    func periods() throws {
        let server = try TestServer(EchoHandler())
        for period in [Duration.zero, .seconds(-1)] + Self.beyond.map({ .zero - $0 }) {
            let peer = try server.connect()
            peer.read(1, every: period)
            peer.send("abc")
            server.advance(by: .milliseconds(1))
            #expect(peer.take() == "abc")
            peer.close()
        }
    }

    /// Answers `work` after three seconds, and is busy until then.
    private struct Working: EventHandler {
        func onTraffic(_ connection: Connection) -> Action {
            connection.discardAll()
            connection.isBusy = true
            connection.schedule(after: .seconds(3)) {
                $0.write("done")
                $0.isBusy = false
            }
            return .none
        }
    }

    @Test("a stop lets a busy connection end its work, and closes a quiet one", arguments: [1, 2])
    func drain(_ loops: Int) throws {
        let server = try TestServer(Working(), options: options(loops: loops))
        let busy = try server.connect()
        let quiet = try server.connect()
        busy.send("work")
        server.requestStop(within: .seconds(60))
        server.advance(by: .seconds(1))
        #expect(quiet.end == .closed && busy.end == .open && !server.hasEnded)
        quiet.close()
        let time = try server.stop(within: .seconds(60))
        #expect(busy.received == "done" && busy.end == .closed)
        #expect(time >= .seconds(2) && time < .seconds(20))
        #expect(server.closes == [.shutdown, .shutdown] && server.hasEnded)
    }

    @Test("a stop with a thousand idle clients takes less than 0.2 s", arguments: [1, 2])
    func idleClients(_ loops: Int) throws {
        var options = options(loops: loops)
        options.timeouts.linger = .seconds(30)
        let server = try TestServer(EchoHandler(), options: options)
        let peers = try (0..<1_000).map { _ in try server.connect() }
        for peer in peers { peer.send("x") }
        server.advance(by: .seconds(1))
        // The clients keep their sides open.
        let time = try server.stop(within: .seconds(60))
        #expect(time < .milliseconds(200))
        #expect(peers.allSatisfy { $0.received == "x" && $0.end == .closed })
        #expect(server.closes.count { $0 == .shutdown } == 1_000)
    }

    @Test("a stop cuts a connection that works for too long")
    func deadline() throws {
        let server = try TestServer(Working())
        let busy = try server.connect()
        busy.send("work")
        try server.stop(within: .seconds(1))
        #expect(busy.received.isEmpty && busy.end != .open && server.closes == [.shutdown])
    }

    private struct Leaving: EventHandler {
        func onTraffic(_ connection: Connection) -> Action { .shutdown }
    }

    @Test("a handler can stop its server, and the reason is known")
    func shutdown() throws {
        let server = try TestServer(Leaving())
        let peer = try server.connect()
        #expect(server.stopReason == nil)
        peer.send("x")
        server.advance(by: .seconds(30))
        #expect(server.hasEnded && peer.end == .closed)
        guard case .shutdownAction = server.stopReason else {
            Issue.record("stopped by \(String(describing: server.stopReason))")
            return
        }
    }

    private struct Restless: EventHandler {
        func onTraffic(_ connection: Connection) -> Action {
            connection.handle.wake()
            return .none
        }
    }

    @Test("a handler that keeps its loop busy for ever is a problem, not a hang")
    func restless() throws {
        let server = try TestServer(Restless())
        let peer = try server.connect()
        #expect(throws: Never.self) { try server.network.checkProblems() }
        peer.send("x")
        #expect(server.network.problems == ["a loop has work at one moment without an end"])
        #expect(throws: TestFailure.self) { try server.network.checkProblems() }
    }
}
