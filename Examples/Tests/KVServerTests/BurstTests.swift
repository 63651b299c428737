/// Bursts of far more messages than one turn of a loop delivers. A client that reads gets all of
/// them.
import TestSupport
import Testing

@Suite struct BurstTests {
    /// Returns a client that has joined a channel.
    private func subscriber(_ server: ServerProcess) throws -> StreamSocket {
        let client = try server.connect()
        let joined = "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
        try client.send("SUBSCRIBE a\r\n")
        #expect(try client.receive(as: joined) == joined)
        return client
    }

    private func message(_ text: String) -> String {
        "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$\(text.utf8.count)\r\n\(text)\r\n"
    }

    private func expectNobodyCutOff(_ server: ServerProcess) throws {
        let client = try server.connect()
        try client.send("INFO\r\nECHO end\r\n")
        let report = try client.receive(until: "$3\r\nend\r\n")
        #expect(report.contains("\r\nsubscribers_cut_off:0\r\n"), "\(report)")
    }

    @Test("a pipeline of published messages reaches every subscriber in order", arguments: Form.all)
    func aPipelineOfMessagesReachesEverybody(_ form: Form) throws {
        let server = try ServerProcess(form)
        let subscribers = try (0..<20).map { _ in try subscriber(server) }
        let publisher = try server.connect()
        try publisher.send((0..<4000).map { "PUBLISH a m\($0)\r\n" }.joined())
        let expected = (0..<4000).map { message("m\($0)") }.joined()
        for subscriber in subscribers {
            #expect(try subscriber.receive(as: expected) == expected)
        }
        let counts = String(repeating: ":20\r\n", count: 4000)
        #expect(try publisher.receive(as: counts) == counts)
        try expectNobodyCutOff(server)
        #expect(try server.stop() == 0)
    }

    @Test("messages of many publishers reach many subscribers", arguments: Form.all)
    func manyPublishersReachManySubscribers(_ form: Form) throws {
        let server = try ServerProcess(form)
        let subscribers = try (0..<200).map { _ in try subscriber(server) }
        let publishers = try (0..<200).map { _ in try server.connect() }
        for publisher in publishers { try publisher.send("PUBLISH a m\r\n") }
        for publisher in publishers {
            #expect(try publisher.receive(as: ":200\r\n") == ":200\r\n")
        }
        let expected = String(repeating: message("m"), count: publishers.count)
        for subscriber in subscribers {
            #expect(try subscriber.receive(as: expected) == expected)
        }
        try expectNobodyCutOff(server)
        #expect(try server.stop() == 0)
    }

    /// Publishes more than may wait for other loops. The publisher must wait and then continue.
    @Test("a publisher waits for the other loops, and no message is lost", arguments: Form.all)
    func aPublisherWaitsForOtherLoops(_ form: Form) throws {
        let server = try ServerProcess(form)
        let subscribers = try (0..<4).map { _ in try subscriber(server) }
        let publisher = try server.connect()
        let text = String(repeating: "m", count: 500_000)
        let request = "*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$500000\r\n\(text)\r\n"
        // 12 MB for each subscriber, 48 MB for all, do not reach a subscriber's own limit.
        try publisher.send(String(repeating: request, count: 24) + "GET none\r\n")
        let expected = message(text)
        for _ in 0..<24 {
            for subscriber in subscribers {
                #expect(try subscriber.receive(as: expected) == expected)
            }
        }
        let counts = String(repeating: ":4\r\n", count: 24) + "$-1\r\n"
        #expect(try publisher.receive(as: counts) == counts)
        try expectNobodyCutOff(server)
        #expect(try server.stop() == 0)
    }

    @Test("messages to a pattern reach subscribers on every loop", arguments: Form.all)
    func patternsReachSubscribersOnEveryLoop(_ form: Form) throws {
        let server = try ServerProcess(form)
        let subscribers = try (0..<4).map { _ in try server.connect() }
        let joined = "*3\r\n$10\r\npsubscribe\r\n$3\r\nn?w\r\n:1\r\n"
        for subscriber in subscribers {
            try subscriber.send("PSUBSCRIBE n?w\r\n")
            #expect(try subscriber.receive(as: joined) == joined)
        }
        let publisher = try server.connect()
        try publisher.send("PUBLISH new x\r\nPUBLISH now y\r\nPUBLISH none z\r\n")
        #expect(try publisher.receive(as: ":4\r\n:4\r\n:0\r\n") == ":4\r\n:4\r\n:0\r\n")
        let expected = [("new", "x"), ("now", "y")].map {
            "*4\r\n$8\r\npmessage\r\n$3\r\nn?w\r\n$3\r\n\($0)\r\n$1\r\n\($1)\r\n"
        }.joined()
        for subscriber in subscribers {
            #expect(try subscriber.receive(as: expected) == expected)
            try subscriber.send("PUNSUBSCRIBE\r\n")
            let left = "*3\r\n$12\r\npunsubscribe\r\n$3\r\nn?w\r\n:0\r\n"
            #expect(try subscriber.receive(as: left) == left)
        }
        try publisher.send("PUBLISH new x\r\n")
        #expect(try publisher.receive(as: ":0\r\n") == ":0\r\n")
        #expect(try server.stop() == 0)
    }

    /// RESP3 has no place for a message there: a client would read it as a reply.
    @Test(
        "a message arrives after the replies of a transaction, never between them",
        arguments: Form.all)
    func noMessageLiesAmongTheRepliesOfATransaction(_ form: Form) throws {
        let server = try ServerProcess(form)
        let client = try server.connect()
        try client.send("HELLO 3\r\nSUBSCRIBE a\r\nECHO on\r\n")
        _ = try client.receive(until: "$2\r\non\r\n")
        try client.send("MULTI\r\nPUBLISH a x\r\nPING\r\nPUBLISH a y\r\nEXEC\r\nPING\r\n")
        func push(_ text: String) -> String {
            ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n\(text)\r\n"
        }
        let queued = String(repeating: "+QUEUED\r\n", count: 3)
        let expected =
            "+OK\r\n" + queued + "*3\r\n:1\r\n+PONG\r\n:1\r\n" + push("x") + push("y") + "+PONG\r\n"
        #expect(try client.receive(as: expected) == expected)
        #expect(try server.stop() == 0)
    }

    /// Sends all requests before it reads the first reply: 40 MB each way, more than the kernel
    /// buffers.
    @Test("a client may send all its requests before it reads the first reply", arguments: Form.all)
    func aClientMayWriteAllBeforeItReads(_ form: Form) throws {
        let server = try ServerProcess(form)
        let client = try server.connect(receiveBuffer: 65_536)
        let value = String(repeating: "v", count: 1000)
        let (pieces, piece) = (40, 1000)
        let request = "*2\r\n$4\r\nECHO\r\n$1000\r\n\(value)\r\n"
        let requests = String(repeating: request, count: piece)
        // A send throws if the server stops reading.
        for _ in 0..<pieces { try client.send(requests) }
        let replies = String(repeating: "$1000\r\n\(value)\r\n", count: piece)
        for _ in 0..<pieces { #expect(try client.receive(as: replies) == replies) }
        #expect(try server.stop() == 0)
    }

    /// Waiting replies have a limit, above which requests wait as well. All are served later.
    @Test(
        "replies that wait for a client use bounded memory, and all are sent later",
        arguments: Form.all)
    func whatMayWaitHasALimit(_ form: Form) throws {
        let server = try ServerProcess(form, ["--unread-limit", "1"])
        let client = try server.connect(receiveBuffer: 65_536)
        let value = String(repeating: "v", count: 100_000)
        try client.send("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000\r\n\(value)\r\n")
        #expect(try client.receive(as: "+OK\r\n") == "+OK\r\n")
        let before = server.residentBytes()
        // 50 MB of replies.
        let count = 500
        try client.send(String(repeating: "GET a\r\n", count: count))
        let other = try server.connect()
        try other.send(String(repeating: "PING\r\n", count: 20))
        let pongs = String(repeating: "+PONG\r\n", count: 20)
        #expect(try other.receive(as: pongs) == pongs)
        let after = server.residentBytes()
        #expect(after - before < 32 << 20, "from \(before) to \(after)")
        let reply = "$100000\r\n\(value)\r\n"
        for _ in 0..<count { #expect(try client.receive(as: reply) == reply) }
        #expect(try server.stop() == 0)
    }
}
