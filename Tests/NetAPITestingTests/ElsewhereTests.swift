/// Tests of work outside the callbacks: offloaded jobs, other threads, tasks, and other servers.
import NetAPI
import NetAPITesting
import Testing

@Suite struct ElsewhereTests {
    /// Answers each byte by a job.
    private struct Offloading: EventHandler {
        func onTraffic(_ connection: Connection) -> Action {
            for byte in Array(copying: connection.next()) {
                connection.offload {
                    byte + 1
                } then: { connection, value in
                    connection.write([value])
                } refused: { connection in
                    connection.write("busy")
                }
            }
            return .none
        }
    }

    @Test("offloaded work runs at once, on no loop", arguments: [1, 2])
    func atOnce(_ loops: Int) throws {
        let server = try TestServer(Offloading(), options: options(loops: loops))
        let peer = try server.connect()
        peer.send("abc")
        #expect(peer.received == "bcd")
    }

    @Test("offloaded work takes its time, one job after the other")
    func taking() throws {
        let server = try TestServer(Offloading())
        server.network.offloads = .taking(.milliseconds(100))
        let peer = try server.connect()
        peer.send("abc")
        server.advance(by: .milliseconds(250))
        #expect(peer.received == "bc")
        server.advance(by: .milliseconds(50))
        #expect(peer.received == "bcd")
    }

    @Test("held work waits for the test, and a full queue refuses more")
    func held() throws {
        var options = Options()
        options.workers.threads = 1
        options.workers.queued = 1
        let server = try TestServer(Offloading(), options: options)
        server.network.offloads = .held
        let peers = try (0..<3).map { _ in try server.connect() }
        for peer in peers { peer.send("a") }
        #expect(server.statistics.offloadsWaiting == 2)
        #expect(peers.map(\.received) == ["", "", "busy"])
        #expect(server.network.runOffload())
        #expect(peers.map(\.received) == ["b", "", "busy"])
        peers[1].reset()
        #expect(server.network.runOffload() && !server.network.runOffload())
        #expect(peers[1].received.isEmpty && server.statistics.offloadsSkipped == 1)
    }

    private struct Answering: EventHandler {
        func onTraffic(_ connection: Connection) -> Action {
            let text = String(decoding: connection.next())
            let handle = connection.handle
            Task { handle.write(text.uppercased()) }
            return .none
        }
    }

    @Test("the answer of a task arrives while the test waits for it", arguments: [1, 2])
    func tasks(_ loops: Int) async throws {
        let server = try TestServer(Answering(), options: options(loops: loops))
        let peer = try server.connect()
        peer.send("abc")
        #expect(await server.network.settle { peer.received == "ABC" })
        #expect(server.network.now == .zero)
        #expect(await !server.network.settle(until: { false }, patience: .milliseconds(5)))
    }

    @Test("a peer's handle and a loop's execute reach the connection from outside")
    func handle() throws {
        let server = try TestServer(LineHandler(), options: options(loops: 2))
        let peer = try server.connect()
        peer.handle?.write("push")
        #expect(peer.received.isEmpty)
        server.settle()
        #expect(peer.take() == "push")
        for loop in 0..<2 {
            server.execute(on: loop) { for each in $0.connections { each.write("all") } }
        }
        #expect(peer.take() == "all")
    }

    @Test("a handle returns whether its loop accepts a call")
    func fullMailbox() throws {
        let server = try TestServer(EchoHandler())
        let peer = try server.connect()
        let handle = try #require(peer.handle)
        let ran = Shared(0)
        var taken = 0
        // The loop takes no message before the test's next step.
        while taken < 100_000, handle.execute({ _ in ran.value += 1 }) { taken += 1 }
        #expect(taken == 65_536)
        #expect(!handle.wake() && !handle.write("late"))
        #expect(server.statistics.refusedPosts == 3)
        server.settle()
        #expect(ran.value == taken && peer.received.isEmpty)
        #expect(handle.execute { $0.write("again") })
        server.settle()
        #expect(peer.received == "again")
        try server.stop()
        #expect(!handle.execute { _ in })
    }

    // Unchecked: one thread turns all loops of a network.
    private final class Shared: @unchecked Sendable {
        var value: Int

        init(_ value: Int) { self.value = value }
    }

    /// Asks an upstream for each piece, and passes on its answer.
    private struct Forwarding: EventHandler {
        let target: Address
        let others = PerConnection<Connection?>(nil)

        func onTraffic(_ connection: Connection) throws -> Action {
            if let other = connection[others] {
                connection.forward(to: other)
                return .none
            }
            connection.connect(to: target, timeout: .seconds(5)) { connection, other in
                connection[others] = other
                other[others] = connection
                connection.forward(to: other)
            }
            return .none
        }
    }

    @Test("a handler's connect reaches the scripted upstream", arguments: [1, 2])
    func upstream(_ loops: Int) throws {
        let network = TestNetwork()
        let upstream = try network.upstream(at: "tcp://10.0.0.9:5432")
        upstream.answer { $0 == "ask" ? "answer" : nil }
        let server = try TestServer(
            Forwarding(target: "tcp://10.0.0.9:5432"), options: options(loops: loops), on: network)
        let peer = try server.connect()
        peer.send("ask")
        #expect(upstream.peers.map(\.received) == ["ask"] && peer.received == "answer")
        upstream.peers[0].send("more")
        #expect(peer.take() == "answermore")
        upstream.peers[0].close()
        #expect(upstream.peers[0].closeReason == .peer && peer.closeReason == nil)
    }

    @Test("an upstream can refuse, answer late, or never")
    func unreachable() throws {
        let network = TestNetwork()
        let address: Address = "tcp://10.0.0.9:5432"
        let upstream = try network.upstream(at: address, .refuses)
        let server = try TestServer(Forwarding(target: address), on: network)
        let refused = try server.connect()
        refused.send("ask")
        #expect(refused.end == .closed && upstream.attempts == 1)
        upstream.behaviour = .neverAnswers
        let waiting = try server.connect()
        waiting.send("ask")
        server.advance(by: .milliseconds(4_990))
        #expect(waiting.end == .open)
        server.advance(by: .milliseconds(20))
        #expect(waiting.end == .closed && upstream.peers.isEmpty)
        upstream.behaviour = .accepts
        upstream.connectTime = .seconds(3)
        let late = try server.connect()
        late.send("ask")
        server.advance(by: .milliseconds(2_990))
        #expect(upstream.peers.isEmpty)
        server.advance(by: .milliseconds(20))
        #expect(upstream.peers[0].received == "ask")
        upstream.connectTime = .seconds(6)
        let tooLate = try server.connect()
        tooLate.send("ask")
        server.advance(by: .seconds(10))
        #expect(tooLate.end == .closed && upstream.peers.count == 1)
        try server.stop()
        let nowhere = try TestServer(
            Forwarding(target: "tcp://10.0.0.8:1"), listen: ["tcp://127.0.0.1:2"], on: network)
        let peer = try nowhere.connect()
        peer.send("ask")
        #expect(peer.end == .closed)
    }

    /// Connects for each piece, and throws if that fails.
    private struct Insisting: EventHandler {
        let target: Address

        func onTraffic(_ connection: Connection) -> Action {
            connection.loop.connect(to: target) { _ = try $0.get() }
            connection.write(connection.next())
            return .none
        }
    }

    @Test(
        "an error thrown in a failed connect's closure stops no server",
        arguments: ["howdy", "tcp://10.0.0.8:1", "tcp://10.0.0.8:0", "unix:///nowhere"])
    func failingConnect(_ target: String) throws {
        let server = try TestServer(Insisting(target: Address(stringLiteral: target)))
        let peer = try server.connect()
        for _ in 0..<3 { peer.send("x") }
        #expect(peer.received == "xxx" && peer.end == .open)
        #expect(server.stopReason == nil)
    }

    private struct Collecting: EventHandler {
        func onTraffic(_ connection: Connection) -> Action {
            connection.write("got it")
            connection.discardAll()
            return .none
        }
    }

    @Test("a client on the network connects to a server of it")
    func client() throws {
        let network = TestNetwork()
        let server = try TestServer(LineHandler(), on: network)
        let client = try network.client(Collecting(), options: options(loops: 2))
        client.connect(to: "tcp://127.0.0.1:9000") { result in
            if case .success(let connection) = result { connection.write("PING\r\n") }
        }
        network.settle()
        #expect(client.connectionCount == 1 && server.opens == 1)
        #expect(client.statistics.bytesIn == 7)
    }

    private final class Kept {
        let isGone: Shared

        init(_ isGone: Shared) { self.isGone = isGone }

        deinit { isGone.value = true }

        // Unchecked: one thread turns all loops of a network.
        final class Shared: @unchecked Sendable { var value = false }
    }

    @Test("a client without a handler has no use for a context that a closure has set")
    func contextOfATask() throws {
        let network = TestNetwork()
        let upstream = try network.upstream(at: "tcp://127.0.0.1:9000")
        let client = try network.client()
        let isGone = Kept.Shared()
        client.connect(to: "tcp://127.0.0.1:9000") { result in
            if case .success(let connection) = result { connection.context = Kept(isGone) }
        }
        network.settle()
        #expect(client.connectionCount == 1 && isGone.value)
        upstream.peers[0].send("x")
        upstream.peers[0].reset()
        network.settle()
    }
}
