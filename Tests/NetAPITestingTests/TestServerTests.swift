/// Tests of servers and peers on a network without faults.
import NetAPI
import NetAPITesting
import Testing

@Suite struct TestServerTests {
    @Test("a peer gets the answer before its send returns", arguments: [1, 2])
    func answers(_ loops: Int) throws {
        let server = try TestServer(LineHandler(), options: options(loops: loops))
        let peer = try server.connect()
        peer.send("PING\r\n")
        #expect(peer.received == "+PONG\r\n")
        peer.send("PING\r\nNOISE\r\nPI")
        #expect(peer.take() == "+PONG\r\n+PONG\r\n-NOISE?\r\n")
        peer.send("NG\r\n")
        #expect(peer.take() == "+PONG\r\n")
        #expect(peer.end == .open && peer.closeReason == nil)
        #expect(server.opens == 1 && server.connectionCount == 1)
        #expect(server.statistics.bytesIn == 25 && server.server.loopCount == loops)
    }

    @Test("each way to end a connection has its reason, and its peer sees the end")
    func ends() throws {
        let server = try TestServer(LineHandler())
        let quitting = try server.connect()
        quitting.send("QUIT\r\n")
        #expect(quitting.received == "+BYE\r\n" && quitting.end == .closed)
        #expect(quitting.closeReason == .local)
        let failing = try server.connect()
        failing.send("PING\r\nFAIL\r\n")
        #expect(failing.received == "+PONG\r\n" && failing.end == .closed)
        let aborted = try server.connect()
        aborted.send("ABORT\r\n")
        #expect(aborted.end == .reset)
        let finishing = try server.connect()
        finishing.send("PING\r\n")
        finishing.finish()
        #expect(finishing.received == "+PONG\r\n" && finishing.end == .closed)
        try server.connect().close()
        try server.connect().reset()
        #expect(
            server.closes
                == [.local, .handlerError("refused"), .local, .peer, .peer, .reset])
        #expect(server.connectionCount == 0)
        #expect(throws: LineHandler.Refused.self) {
            if case .handlerError(let error) = server.closeReasons[1] { throw error }
        }
    }

    @Test("time stands still until the test advances it, and a silent peer is closed then")
    func idle() throws {
        let server = try TestServer(
            LineHandler(), options: Options().with { $0.timeouts.idle = .seconds(60) })
        let peer = try server.connect()
        server.advance(by: .seconds(59))
        #expect(peer.end == .open && server.network.now == .seconds(59))
        peer.send("PING\r\n")
        server.advance(by: .seconds(59))
        #expect(peer.end == .open)
        server.advance(by: .seconds(2))
        #expect(peer.end == .closed && server.closes == [.timeout])
        #expect(server.statistics.timeouts == 1 && server.network.now == .seconds(120))
    }

    @Test("bytes that arrive with the end of their stream are answered")
    func together() throws {
        let server = try TestServer(LineHandler())
        let peer = try server.connect()
        server.network.together {
            peer.send("PING\r\n")
            peer.send("PING\r\n")
            peer.finish()
            #expect(peer.received.isEmpty)
        }
        #expect(peer.received == "+PONG\r\n+PONG\r\n" && peer.end == .closed)
    }

    @Test("several listeners and handlers per loop serve their peers", arguments: [1, 2])
    func listeners(_ loops: Int) throws {
        let server = try TestServer(
            listen: ["tcp://0.0.0.0:80", "tcp://[::1]:81", "unix:///run/app.sock"],
            options: options(loops: loops)
        ) { LineHandler() }
        for listener in 0..<3 {
            let peer = try server.connect(to: listener)
            peer.send("PING\r\n")
            #expect(peer.received == "+PONG\r\n")
        }
        #expect(throws: TestFailure.self) { try server.connect(to: 3) }
        try server.stop()
        #expect(server.hasEnded && server.closes == [.shutdown, .shutdown, .shutdown])
        #expect(throws: TestFailure.self) { try server.connect() }
    }

    @Test("hosts have the limit of the options, and others wait in the backlog")
    func limits() throws {
        var options = Options()
        options.limits.connectionsPerHost = 1
        options.limits.connections = 2
        let server = try TestServer(LineHandler(), options: options)
        let first = try server.connect(from: "10.0.0.1")
        let second = try server.connect(from: "10.0.0.1")
        #expect(first.end == .open && second.end == .closed)
        #expect(server.statistics.hostRefusals == 1)
        let third = try server.connect(from: "10.0.0.2")
        let fourth = try server.connect(from: "10.0.0.3")
        third.send("PING\r\n")
        fourth.send("PING\r\n")
        #expect(third.received == "+PONG\r\n" && fourth.received.isEmpty)
        first.close()
        #expect(fourth.received == "+PONG\r\n")
    }

    @Test("without a free socket accepting waits, and goes on by itself", arguments: [1, 2])
    func socketLimit(_ loops: Int) throws {
        let server = try TestServer(LineHandler(), options: options(loops: loops))
        server.network.socketLimit = 2
        let first = try server.connect()
        let second = try server.connect()
        first.send("PING\r\n")
        second.send("PING\r\n")
        #expect(first.received == "+PONG\r\n" && second.received.isEmpty)
        #expect(server.opens == 1 && server.statistics.acceptBackOffs == 1)
        server.network.socketLimit = 3
        server.advance(by: .seconds(1))
        #expect(second.received == "+PONG\r\n" && server.opens == 2)
    }

    @Test("wrong options and addresses fail like in production")
    func validation() throws {
        for change: (inout Options) -> Void in [
            { $0.limits.inboundBytes = 0 }, { $0.timeouts.idle = .zero },
            { $0.loops = .count(2000) }, { $0.workers.threads = 0 },
        ] {
            let options = Options().with(change)
            let simulated = #expect(throws: NetError.self) {
                try TestServer(LineHandler(), options: options)
            }
            let real = #expect(throws: NetError.self) {
                try Server(LineHandler(), listen: "tcp://127.0.0.1:0", options: options)
            }
            #expect(simulated?.description == real?.description && real != nil)
        }
        let error = #expect(throws: NetError.self) {
            try TestServer(LineHandler(), listen: ["udp://127.0.0.1:53"])
        }
        #expect(error?.code == .invalidOption)
        #expect(throws: NetError.self) { try TestServer(LineHandler(), listen: ["nonsense"]) }
    }

    @Test("a taken address and an error of onBoot fail the start, and leave nothing bound")
    func failedStart() throws {
        let network = TestNetwork()
        let server = try TestServer(LineHandler(), on: network)
        let taken = #expect(throws: NetError.self) {
            try TestServer(LineHandler(), on: network)
        }
        #expect(taken?.code == .addressInUse)
        let refused = #expect(throws: NetError.self) {
            try TestServer(NoBoot(), listen: ["tcp://127.0.0.1:1"], on: network)
        }
        #expect(refused?.code == .system)
        let other = try TestServer(
            LineHandler(), listen: ["tcp://127.0.0.1:1"], on: network)
        #expect(try other.reply(to: "PING\r\n") == "+PONG\r\n")
        #expect(try server.reply(to: "PING\r\n") == "+PONG\r\n")
        try server.stop()
        try other.stop()
    }

    private struct NoBoot: EventHandler {
        func onBoot(_ loop: Loop) throws -> Action { throw LineHandler.Refused() }
        func onTraffic(_ connection: Connection) -> Action { .close }
    }
}
