/// kv-server's handler without a socket: every cut of a pipeline, and many clients under faults.
import KVStore
import NetAPI
import NetAPITesting
import Testing

@testable import kv_server

@Suite struct SimulatedTests {
    private static let pipeline =
        "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nh\r\nlo\r\nGET a\r\n*1\r\n$4\r\nPING\r\nNONE\r\n"
        + "ECHO \"b c\"\r\n"
    private static let replies =
        "+OK\r\n$5\r\nh\r\nlo\r\n+PONG\r\n"
        + "-ERR unknown command 'NONE', with args beginning with: \r\n$3\r\nb c\r\n"

    private func serve(
        loops: Int, on network: TestNetwork = TestNetwork()
    ) throws -> TestServer {
        let database = Database(isShared: loops != 1)
        let limits = ClientLimits(reply: 1 << 20, unread: 1 << 20)
        return try TestServer(options: Options(loops: .count(loops)), on: network) {
            KVHandler(database, limits)
        }
    }

    @Test("a pipeline gets the same replies in every cut", arguments: [1, 2])
    func everyCutOfAPipeline(_ loops: Int) throws {
        let server = try serve(loops: loops)
        let wrong = try everyCut(of: Self.pipeline).filter {
            try server.reply(to: $0) != Self.replies
        }
        #expect(wrong == [])
        try server.stop()
    }

    @Test("clients that send at once get their own replies", arguments: TestSeed.each(1...20))
    func manyClients(_ seed: TestSeed) throws {
        let network = TestNetwork(seed: seed, faults: .lossless)
        let server = try serve(loops: network.random(in: 1...3), on: network)
        let peers = try (0..<4).map { _ in try server.connect() }
        network.together {
            for (number, peer) in peers.enumerated() {
                let requests = (0..<20).map { "SET k\(number) \($0)\r\nGET k\(number)\r\n" }
                peer.send(network.randomCut(of: TestBytes(requests.joined())))
            }
        }
        let expected = (0..<20).map { "+OK\r\n$\("\($0)".count)\r\n\($0)\r\n" }.joined()
        for peer in peers { #expect(peer.received == expected) }
        try server.stop()
    }

    @Test("a message reaches the subscribers of every loop, and no other client")
    func subscribers() throws {
        let server = try serve(loops: 3)
        let peers = try (0..<6).map { _ in try server.connect() }
        for peer in peers.dropLast() { peer.send("SUBSCRIBE news\r\n") }
        for peer in peers { _ = peer.take() }
        try server.connect().send("PUBLISH news hello\r\n")
        let message = "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n"
        for peer in peers.dropLast() { #expect(peer.take() == message) }
        #expect(peers[5].take().isEmpty)
    }

    @Test("a transaction whose reply reaches the limit answers its changes all the same")
    func transactionAboveTheLimit() throws {
        let server = try serve(loops: 1)
        let peer = try server.connect()
        peer.send("SET a \(String(repeating: "v", count: 1000))\r\nSET k v\r\n")
        peer.send("MULTI\r\n" + String(repeating: "GET a\r\n", count: 1081))
        peer.send("INCR c\r\nDEL k\r\n")
        _ = peer.take()
        peer.send("EXEC\r\n")
        let reply = peer.take()
        #expect(reply.starts(with: Array("*1083\r\n$1000\r\nv".utf8)))
        let refusal = "-ERR reply exceeds maximum allowed size (client-output-buffer-limit)\r\n"
        let end = TestBytes(refusal + ":1\r\n:1\r\n")
        #expect(reply.suffix(end.count).elementsEqual(end), "\(TestBytes(reply.suffix(100)))")
        #expect(try server.reply(to: "GET c\r\nEXISTS k\r\n") == "$1\r\n1\r\n:0\r\n")
        try server.stop()
    }

    /// The requests behind the limit stay unread, so the server holds a bounded number of replies.
    @Test("a client that does not read is held, and gets all replies when it reads again")
    func stalledClient() throws {
        let server = try serve(loops: 1)
        let peer = try server.connect()
        let value = String(repeating: "v", count: 10_000)
        peer.send("SET a \(value)\r\n")
        #expect(peer.take() == "+OK\r\n")
        peer.stall()
        peer.send(String(repeating: "GET a\r\n", count: 300))
        server.advance(by: .seconds(60))
        #expect(peer.take().isEmpty && server.connectionCount == 1)
        #expect(server.statistics.bytesOut == 5)
        peer.resume()
        #expect(peer.take().count == 300 * (8 + 10_000 + 2))
    }
}
