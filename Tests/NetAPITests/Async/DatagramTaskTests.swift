/// Tests of `udp://` connections in tasks: each datagram is read once, and each write is one.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct DatagramTaskTests {
    /// Runs `body` in a task, with a connection to a server with this handler. Its reads fail when
    /// they take too long.
    private func connect(
        _ setup: Setup, _ answers: DatagramTestHandler,
        _ body: @escaping @Sendable (AsyncConnection, Client) async throws -> Void
    ) async throws {
        let server = try Server(answers, listen: "udp://127.0.0.1:0", options: setup.options())
        try bounded("Server.start") { try server.start() }
        let client = try Client(options: setup.options())
        try client.start()
        let address = server.boundAddresses[0]
        let result: Result<Void, any Error>
        do {
            try await patiently("the task") {
                try await client.withConnection(to: address) { connection in
                    try await connection.withTimeout(patience / 2) {
                        try await body(connection, client)
                    }
                }
            }
            result = .success(())
        } catch {
            result = .failure(error)
        }
        try await patiently("await Client.stop") { await client.stop() }
        try await patiently("await Server.stop") { await server.stop() }
        try result.get()
    }

    /// Answers with these datagrams, which are sent with one call.
    private func answer(_ texts: String...) -> DatagramTestHandler {
        DatagramTestHandler { datagram in
            for text in texts { datagram.reply(text) }
            return .none
        }
    }

    /// Lets the loop turn until it has received a datagram more, which the task does not read.
    private static func receiveUnread(
        _ client: Client, after action: () async throws -> Void
    ) async throws {
        let before = client.statistics.datagramsIn
        try await action()
        let deadline = Deadline(patience / 2)
        while client.statistics.datagramsIn == before {
            try deadline.check("a datagram is received")
            await Task.yield()
        }
    }

    @Test(
        "datagrams that come while a task does not read are read later, one by one and in order",
        arguments: Setup.all)
    func unreadOnesAreKept(_ setup: Setup) async throws {
        let all = ["1", "22", "333", "4", "five", "6"]
        let answers = answer("1", "22", "", "333", "4", "five", "6")
        try await connect(setup, answers) { connection, client in
            for round in 0..<20 {
                // Reading begins with the first wait.
                if round == 0 {
                    try await connection.write("more")
                } else {
                    try await Self.receiveUnread(client) { try await connection.write("more") }
                }
                var read: [String] = []
                while read.count < all.count, let bytes = try await connection.read() {
                    read.append(String(decoding: bytes, as: UTF8.self))
                    // A turn in which no task waits for input.
                    await Task.yield()
                }
                #expect(read == all)
            }
            #expect(client.statistics.datagramDrops == 0)
        }
    }

    /// The rest of a datagram is read on, but is no beginning of the next one.
    @Test("a read that a datagram is too short for gets the next one", arguments: Setup.all)
    func unitsDoNotSpanDatagrams(_ setup: Setup) async throws {
        let answers = answer("a\nbc\ndefgh", "e", "f\n", "short", "long enough", "\0", "\0\u{2}xy")
        try await connect(setup, answers) { connection, _ in
            try await connection.write("more")
            for expected in ["a", "bc", "f"] {
                let line = try await connection.readLine()
                #expect(line == expected)
            }
            let exact = try await connection.read(exactly: 6) { String(decoding: $0) }
            #expect(exact == "long e")
            let rest = try await connection.read()
            #expect(rest == Array("nough".utf8))
            let frame = try await connection.readFrame(length: UInt16.self, limit: 9) {
                [UInt8](copying: $0)
            }
            #expect(frame == Array("xy".utf8))
        }
    }

    @Test(
        "each write or send of a task is one datagram, and so are gathered pieces",
        arguments: Setup.all)
    func eachWriteIsADatagram(_ setup: Setup) async throws {
        let seen = Shared<[String]>([])
        let collect = DatagramTestHandler { datagram in
            seen.update { [text = String(decoding: datagram.bytes)] in $0.append(text) }
            if datagram.bytes.equals("xy") { datagram.reply("end") }
            return .none
        }
        try await connect(setup, collect) { connection, _ in
            try await connection.write("a")
            try await connection.write([0x62])
            try await connection.write("c".utf8)
            connection.gather("d")
            connection.gather([0x65])
            try await connection.write("f")
            try await connection.write("")
            connection.gather("g")
            try await connection.send([0x68])
            try await connection.send("i".utf8)
            connection.gather("x")
            connection.gather("y")
            let end = try await connection.read()
            #expect(end == Array("end".utf8))
        }
        #expect(seen.value == ["a", "b", "c", "de", "f", "", "g", "h", "i", "xy"])
    }
}
