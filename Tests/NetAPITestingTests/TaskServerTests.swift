/// Tests of connections with tasks: they live on the loops, so the test's thread runs them too.
import Glibc
import NetAPI
import NetAPITesting
import Synchronization
import Testing

@Suite struct TaskServerTests {
    @Sendable private static func shout(_ connection: AsyncConnection) async throws {
        for try await line in connection.lines(limit: 100) {
            if line == "quit" { return }
            try await connection.write("\(line.uppercased())\n")
        }
    }

    @Test("a task's answer is there when the peer's send returns", arguments: [1, 2])
    func answers(_ loops: Int) throws {
        let server = try TestServer(options: options(loops: loops), serve: Self.shout)
        let wrong = try everyCut(of: "one\ntwo\n", pieces: 3).filter {
            try server.reply(to: $0) != "ONE\nTWO\n"
        }
        #expect(wrong == [])
        let peer = try server.connect()
        peer.send("one\nquit\n")
        #expect(peer.received == "ONE\n" && peer.end == .closed && peer.closeReason == .local)
    }

    @Test("a task waits in virtual time, and its error is the reason of the close")
    func timeout() throws {
        let server = try TestServer { connection in
            try await connection.withTimeout(.seconds(30)) { try await Self.shout(connection) }
        }
        let peer = try server.connect()
        server.advance(by: .seconds(29))
        #expect(peer.end == .open)
        server.advance(by: .seconds(2))
        #expect(peer.end == .closed)
        let reasons = server.closeReasons
        guard case .handlerError(let error as NetError) = reasons.first else {
            Issue.record("\(reasons)")
            return
        }
        #expect(error.code == .timedOut)
    }

    @Test(
        "a task that sends now and then does not hide from the read time-out that its peer is gone")
    func heartbeats() throws {
        let options = options(loops: 1).with { $0.timeouts.read = .seconds(10) }
        let server = try TestServer(options: options) { connection in
            while true {
                do {
                    let bytes = try await connection.withTimeout(.seconds(2)) {
                        try await connection.read()
                    }
                    if bytes == nil { return }
                } catch let error as NetError where error.code == .timedOut && connection.isOpen {
                    try await connection.write("ping\n")
                }
            }
        }
        let peer = try server.connect()
        server.advance(by: .seconds(7))
        peer.send("pong\n")
        server.advance(by: .seconds(9))
        #expect(peer.end == .open)
        server.advance(by: .seconds(2))
        #expect(peer.end == .closed)
        #expect(server.closes == [.timeout])
    }

    @Test("a task that waits for a slow reader goes on when that reads again")
    func slowReader() throws {
        let text = String(repeating: "x", count: 1 << 20)
        let server = try TestServer { connection in
            _ = try await connection.read()
            for _ in 0..<4 { try await connection.write(text) }
        }
        let peer = try server.connect()
        peer.stall()
        peer.send("go")
        #expect(server.connectionCount == 1)
        peer.resume()
        #expect(peer.received.count == 4 << 20 && peer.end == .closed)
    }

    @Test("a task that waits for input ends with its connection, by an end or by a reset")
    func waitingTasksEnd() throws {
        let ended = Mutex<[String]>([])
        let server = try TestServer { connection in
            do {
                let bytes = try await connection.read()
                ended.withLock { $0.append("\(bytes?.count ?? 0) bytes") }
            } catch {
                ended.withLock { $0.append("\((error as? NetError)?.code.description ?? "?")") }
                throw error
            }
        }
        try server.connect().finish()
        #expect(ended.withLock { $0 } == ["0 bytes"])
        try server.connect().reset()
        #expect(ended.withLock { $0.count } == 2 && server.connectionCount == 0)
    }

    @Test("tasks answer all peers under seeds, and the same seed is the same run")
    func seeds() throws {
        func run(_ seed: TestSeed) throws -> [String] {
            let network = TestNetwork(seed: seed, faults: .lossless)
            let server = try TestServer(
                options: options(loops: network.random(in: 1...3)), on: network,
                serve: Self.shout)
            let peers = try (0..<3).map { _ in try server.connect() }
            network.together {
                for peer in peers { peer.send(String(repeating: "hello\n", count: 50)) }
            }
            for peer in peers {
                try network.require(peer.received == String(repeating: "HELLO\n", count: 50))
            }
            peers[0].finish()
            try network.require(peers[0].end == .closed, "\(peers[0].end)")
            try server.stop()
            return network.log
        }
        for seed in TestSeed.each(1...15) { #expect(try run(seed) == run(seed), "\(seed)") }
    }

    @Test("a task of one server talks to another by a client of the network")
    func client() throws {
        let network = TestNetwork()
        let back = try TestServer(on: network, serve: Self.shout)
        let client = try network.client()
        let front = try TestServer(listen: ["tcp://127.0.0.1:8000"], on: network) { connection in
            for try await line in connection.lines(limit: 100) {
                let answer = try await client.withConnection(to: "tcp://127.0.0.1:9000") { other in
                    try await other.write("\(line)\n")
                    return try await other.readLine(limit: 100)
                }
                try await connection.write("<\(answer ?? "")>\n")
            }
        }
        #expect(try front.reply(to: "ask\n") == "<ASK>\n")
        #expect(back.closes == [.peer] || back.closes == [.local])
    }

    @Test("addresses begin and end, and no call waits for the test", arguments: [1, 2])
    func listening(_ loops: Int) async throws {
        let server = try TestServer(options: options(loops: loops), serve: Self.shout)
        try await server.server.listen(on: "tcp://127.0.0.1:9001")
        let added = try server.connect(to: 1)
        added.send("one\n")
        #expect(added.received == "ONE\n")
        try await server.server.stopListening(on: "tcp://127.0.0.1:9001")
        server.network.settle()
        #expect(server.server.boundAddresses == ["tcp://127.0.0.1:9000"])
        added.send("two\n")
        #expect(added.received == "ONE\nTWO\n")
    }

    /// Answers on the thread that asks, and notes that thread.
    private final class NotingResolver: Resolver {
        let threads = Mutex<[pthread_t]>([])

        func resolve(
            _ query: HostQuery, answer: @escaping @Sendable (Result<[String], any Error>) -> Void
        ) {
            threads.withLock { $0.append(pthread_self()) }
            answer(.success(["127.0.0.1"]))
        }
    }

    @Test("a name and a path are bound on the test's thread, which turns the network")
    func listeningInPlace() async throws {
        let resolver = NotingResolver()
        let options = options(loops: 1).with { $0.names.resolver = resolver }
        let server = try TestServer(options: options, serve: Self.shout)
        let thread = pthread_self()
        try await server.server.listen(on: "tcp://name.test:9001")
        #expect(resolver.threads.withLock { $0 } == [thread])
        try await server.server.listen(on: "unix:///nowhere/socket")
        for place in 1...2 {
            let added = try server.connect(to: place)
            added.send("one\n")
            #expect(added.received == "ONE\n")
        }
    }

    @Test("an address that is served is refused, also with a listener for each loop")
    func twice() throws {
        let server = try TestServer(
            options: options(loops: 2).with { $0.reusePort = true }, serve: Self.shout)
        let error = #expect(throws: NetError.self) {
            try server.server.listen(on: "tcp://127.0.0.1:9000")
        }
        #expect(error?.code == .addressInUse)
        #expect(server.server.boundAddresses == ["tcp://127.0.0.1:9000"])
    }
}

/// A loop with more tasks that are ready than one turn runs.
@Suite struct CrowdedTaskTests {
    /// Tasks that wait until they are let go all at once.
    private final class Crowd: Sendable {
        private let waiting = Mutex<[CheckedContinuation<Void, Never>]>([])

        func join() async {
            await withCheckedContinuation { one in waiting.withLock { $0.append(one) } }
        }

        func go() {
            let all = waiting.withLock { waiting in
                defer { waiting = [] }
                return waiting
            }
            for one in all { one.resume() }
        }
    }

    /// The first peer's byte makes 2,000 other tasks ready. In the same turn the second peer's
    /// last bytes and its end arrive, and its task runs some turns later.
    @Test("a task behind many others still reads all that came before the end", arguments: 1...20)
    func endBehindACrowd(_ number: UInt64) throws {
        let crowd = Crowd()
        let network = TestNetwork(seed: TestSeed(number), faults: .lossless)
        let results = Mutex<[Int]>([])
        let server = try TestServer(options: options(loops: 1), on: network) { connection in
            var count = 0
            try await withThrowingTaskGroup(of: Void.self) { group in
                guard let first = try await connection.read() else { return }
                if first == [UInt8(ascii: "c")] {
                    for _ in 0..<2000 { group.addTask { await crowd.join() } }
                    _ = try await connection.read()
                    crowd.go()
                    return
                }
                connection.finish()
                while let bytes = try await connection.read() { count += bytes.count }
                results.withLock { $0.append(count) }
            }
        }
        let (leader, other) = (try server.connect(), try server.connect())
        leader.send("c")
        other.send("d")
        network.together {
            leader.send("g")
            other.send(String(repeating: "x", count: 3000))
            other.finish()
        }
        #expect(results.withLock { $0 } == [3000])
    }
}
