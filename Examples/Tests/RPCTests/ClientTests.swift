/// The calls of a client without a socket: a server that answers, ends, is away or is slow.
import NetAPI
import NetAPITesting
import RPCCodec
import Synchronization
import Testing

@testable import rpc_client

@Suite struct ClientTests {
    private static let address: Address = "tcp://10.0.0.1:9000"
    private let network = TestNetwork()
    private let calls = Calls(to: address)
    private let results = Results()

    /// The results of calls in the order in which they came.
    private final class Results: Sendable {
        private let list = Mutex<[String]>([])

        var all: [String] { list.withLock { $0 } }

        func add(_ name: String) -> Calls.Done {
            { result in
                let text =
                    switch result {
                    case .success(let body): String(decoding: body, as: UTF8.self)
                    case .failure(let error): "\(error)"
                    }
                self.list.withLock { $0.append("\(name): \(text)") }
            }
        }
    }

    private func echo(
        _ text: String, repeats: Bool = false, within limit: Duration = .seconds(5)
    ) {
        calls.begin(
            Method.echo, Array(text.utf8), repeats: repeats, within: limit, results.add(text))
        network.settle()
    }

    @Test("calls from before the connection and on it get their answers, in any order")
    func answers() throws {
        let upstream = try network.upstream(at: Self.address)
        upstream.connectTime = .milliseconds(10)
        let client = try network.client(calls)
        try client.start()
        echo("a")
        network.advance(by: .milliseconds(20))
        let server = try #require(upstream.peers.first)
        echo("b")
        #expect(server.take() == Frames.bytes(Frames.echo(1, "a"), Frames.echo(2, "b")))
        server.send(Frames.bytes(Frames.answer(2, "B"), Frames.answer(7, "?")))
        server.send(
            Frames.bytes(Frame(id: 1, code: Status.refusal, body: Array("no".utf8))))
        #expect(results.all == ["b: B", "a: refused(\"no\")"])
        network.stop(client)
    }

    @Test("the end of a connection fails calls or repeats them", arguments: ["end", "reset"])
    func loss(_ end: String) throws {
        let upstream = try network.upstream(at: Self.address)
        let client = try network.client(calls)
        try client.start()
        network.settle()
        echo("a")
        echo("b", repeats: true)
        if end == "end" { upstream.peers[0].finish() } else { upstream.peers[0].reset() }
        #expect(results.all == ["a: lost"])
        echo("c")
        network.advance(by: .seconds(1))
        try #require(upstream.peers.count == 2)
        let sent = Frames.bytes(Frames.echo(2, "b"), Frames.echo(3, "c"))
        #expect(upstream.peers[1].take() == sent)
        upstream.peers[1].send(Frames.bytes(Frames.answer(3, "C"), Frames.answer(2, "B")))
        #expect(results.all == ["a: lost", "c: C", "b: B"])
        network.stop(client)
    }

    @Test("a server that is away is tried again, and a call has its limit")
    func away() throws {
        let upstream = try network.upstream(at: Self.address, .refuses)
        let client = try network.client(calls)
        try client.start()
        echo("a", within: .seconds(1))
        echo("b", within: .seconds(60))
        network.advance(by: .milliseconds(900))
        #expect(results.all.isEmpty)
        network.advance(by: .milliseconds(300))
        #expect(results.all == ["a: timedOut"])
        network.advance(by: .seconds(10))
        // The delays grow to 3.2 s, and each is at least half of that.
        #expect((6...14).contains(upstream.attempts))
        upstream.behaviour = .accepts
        network.advance(by: .seconds(4))
        let server = try #require(upstream.peers.first)
        #expect(server.take() == Frames.bytes(Frames.echo(2, "b")))
        calls.close()
        echo("c")
        #expect(results.all == ["a: timedOut", "c: closed"])
        server.send(Frames.bytes(Frames.answer(2, "B")))
        #expect(results.all.last == "b: B")
        network.stop(client)
    }

    @Test(
        "calls that end while no connection takes them leave nothing, and others keep their order")
    func ids() {
        var table = CallTable()
        for id in 1...100_000 as ClosedRange<UInt64> {
            table.add(Frame(id: id, code: Method.echo), isRepeatable: false, ticks: 1) { _ in }
            if id > 3 { _ = table.remove(id) }
        }
        #expect(table.count == 3 && table.unsent.count <= 2 * Calls.most)
        #expect((0..<4).map { _ in table.nextToSend()?.id } == [1, 2, 3, nil])
    }

    @Test("a limit of any length is accepted")
    func extremes() throws {
        _ = try network.upstream(at: Self.address, .refuses)
        let client = try network.client(calls)
        try client.start()
        echo("a", within: .seconds(Int64.max))
        echo("b", within: .seconds(Int64.min))
        network.advance(by: .seconds(1))
        #expect(results.all == ["b: timedOut"])
        calls.close()
        #expect(results.all == ["b: timedOut", "a: closed"])
        network.stop(client)
    }

    @Test("a stop waits for answers, and a closed client repeats nothing")
    func stop() throws {
        let upstream = try network.upstream(at: Self.address)
        upstream.onConnect { [network] peer in
            network.after(.milliseconds(300)) {
                peer.send(Frames.bytes(Frames.answer(1, "A")))
                peer.reset()
            }
        }
        let client = try network.client(calls)
        try client.start()
        network.settle()
        echo("a")
        echo("b", repeats: true)
        calls.close()
        network.stop(client)
        #expect(results.all == ["a: A", "b: lost"])
        #expect(upstream.attempts == 1)
    }

    @Test("unanswered calls have a limit, and a server that does not read gets no more bytes")
    func bounds() throws {
        let upstream = try network.upstream(at: Self.address)
        upstream.onConnect { $0.stall() }
        let client = try network.client(calls)
        try client.start()
        network.settle()
        let text = String(repeating: "x", count: Frame.bodyLimit)
        calls.begin(Method.echo, Array((text + "x").utf8), results.add("long"))
        for _ in 0..<Calls.most { calls.begin(Method.echo, Array(text.utf8)) { _ in } }
        calls.begin(Method.echo, [], results.add("more"))
        network.settle()
        #expect(results.all == ["long: tooLong", "more: busy"])
        #expect(client.statistics.overflowCloses == 0 && client.connectionCount == 1)
        upstream.peers[0].resume()
        network.settle()
        #expect(upstream.peers[0].received.count == Calls.most * (4 + Frame.limit))
        calls.close()
        network.stop(client, within: .seconds(1))
        #expect(calls.unanswered == 0)
    }
}
