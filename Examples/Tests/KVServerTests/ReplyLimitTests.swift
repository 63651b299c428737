/// Short requests whose replies would be long. No reply is built above the limit, and the client
/// gets an error.
import TestSupport
import Testing

@Suite struct ReplyLimitTests {
    private static let refusal =
        "-ERR reply exceeds maximum allowed size (client-output-buffer-limit)\r\n"
    /// Three values fit in a reply of 1 MiB, four do not.
    private let value = String(repeating: "v", count: 300_000)

    private func request(_ words: String...) -> String {
        "*\(words.count)\r\n" + words.map { "$\($0.utf8.count)\r\n\($0)\r\n" }.joined()
    }

    private func ask(_ client: StreamSocket, _ request: String, _ reply: String) throws {
        try client.send(request)
        let received = try client.receive(as: reply)
        #expect(received == reply, "\(request.prefix(40).debugDescription)")
    }

    @Test(
        "a request whose reply exceeds the limit gets an error and changes no data",
        arguments: Form.all)
    func whoAsksForTooMuchIsToldSo(_ form: Form) throws {
        let server = try ServerProcess(form, ["--reply-limit", "1"])
        let client = try server.connect()
        let members = (1...4).map { "\($0)\(value)" }
        try ask(client, request("SET", "a", value), "+OK\r\n")
        for (number, member) in members.enumerated() {
            try ask(client, request("RPUSH", "l", member), ":\(number + 1)\r\n")
            try ask(client, request("HSET", "h", member, ""), ":1\r\n")
            try ask(client, request("SADD", "s", member), ":1\r\n")
            try ask(client, request("SET", member, ""), "+OK\r\n")
        }
        let refused = [
            "MGET a a a a", "LRANGE l 0 -1", "HGETALL h", "SMEMBERS s", "KEYS *",
            "SCAN 0 COUNT 1000", "LPOP l 4", "RPOP l 4",
        ]
        // Each request is sent alone and among others, whose replies must not change.
        for line in refused {
            try ask(client, "\(line)\r\n", Self.refusal)
            try ask(client, "PING\r\n\(line)\r\nPING\r\n", "+PONG\r\n\(Self.refusal)+PONG\r\n")
        }
        let bulk = "$300000\r\n\(value)\r\n"
        try ask(client, "MGET a a a\r\n", "*3\r\n" + bulk + bulk + bulk)
        // No element was removed.
        try ask(client, "LLEN l\r\n", ":4\r\n")
        try ask(
            client, "LPOP l 2\r\nRPOP l\r\n",
            "*2\r\n" + [members[0], members[1]].map { "$300001\r\n\($0)\r\n" }.joined()
                + "$300001\r\n\(members[3])\r\n")
        try client.send("INFO\r\nECHO end\r\n")
        let text = try client.receive(until: "$3\r\nend\r\n")
        #expect(text.contains("\r\nreplies_refused:\(refused.count * 2)\r\n"), "\(text)")
        #expect(try server.stop() == 0)
    }

    @Test("a value that is too long for a reply is not removed or replaced", arguments: Form.all)
    func aValueThatIsTooLongIsNotLost(_ form: Form) throws {
        let server = try ServerProcess(form, ["--reply-limit", "1"])
        let client = try server.connect()
        let long = String(repeating: "v", count: 1 << 20)
        try ask(client, request("SET", "a", long), "+OK\r\n")
        for line in ["GET a", "GETDEL a", "SET a b GET"] {
            try ask(client, "\(line)\r\n", Self.refusal)
        }
        try ask(client, "STRLEN a\r\n", ":\(1 << 20)\r\n")
        #expect(try server.stop() == 0)
    }

    /// The reply would have 300 MB, of which hardly any are built.
    @Test("a refused reply uses little memory", arguments: Form.all)
    func whatIsRefusedTakesNoMemory(_ form: Form) throws {
        let server = try ServerProcess(form, ["--reply-limit", "1"])
        let client = try server.connect()
        try ask(client, request("SET", "a", value), "+OK\r\n")
        let before = server.residentBytes()
        let line = "MGET" + String(repeating: " a", count: 1000) + "\r\n"
        for _ in 0..<3 { try ask(client, line, Self.refusal) }
        let after = server.residentBytes()
        #expect(after - before < 32 << 20, "from \(before) to \(after)")
        #expect(try server.stop() == 0)
    }

    /// They tell of changes that have been made.
    @Test(
        "the short replies of a transaction are all sent, above every limit", arguments: Form.all)
    func manyShortReplies(_ form: Form) throws {
        let server = try ServerProcess(form, ["--reply-limit", "1", "--unread-limit", "1"])
        let client = try server.connect()
        try ask(client, "RPUSH l x\r\nMULTI\r\n", ":1\r\n+OK\r\n")
        let (rounds, size) = (110, 10_000)
        let queued = String(repeating: "+QUEUED\r\n", count: size)
        for _ in 0..<rounds {
            try ask(client, String(repeating: "INCR l\r\n", count: size), queued)
        }
        let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
        let replies = String(repeating: wrong, count: size)
        // More than 66 MiB, which is what the two limits and their room had allowed.
        try ask(client, "EXEC\r\n", "*\(rounds * size)\r\n")
        for _ in 0..<rounds { #expect(try client.receive(as: replies) == replies) }
        #expect(try server.stop() == 0)
    }

    /// A client that could not know its subscriptions is disconnected.
    @Test(
        "a client is disconnected when its confirmations or messages exceed the reply limit",
        arguments: Form.all)
    func confirmationsAndMessagesThatAreTooLong(_ form: Form) throws {
        let server = try ServerProcess(form, ["--reply-limit", "1"])
        let greedy = try server.connect()
        try greedy.send(request("SUBSCRIBE", value, value + "2", value + "3", value + "4"))
        #expect(try greedy.receiveAll() == Self.refusal)
        let (subscriber, publisher) = (try server.connect(), try server.connect())
        let joined = "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
        try ask(subscriber, "SUBSCRIBE a\r\n", joined)
        try ask(
            publisher, request("PUBLISH", "a", String(repeating: "m", count: 1 << 20)), ":1\r\n")
        #expect(try subscriber.receiveSomeUntilReset() == nil)
        try ask(publisher, "PUBLISH a b\r\n", ":0\r\n")
        try publisher.send("INFO\r\nECHO end\r\n")
        #expect(try publisher.receive(until: "$3\r\nend\r\n").contains("subscribers_cut_off:1\r\n"))
        #expect(try server.stop() == 0)
    }
}
