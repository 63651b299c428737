/// The same behaviour by callbacks and by tasks: each row is served both ways, and its client sees
/// the same.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct SameBehaviourTests {
    enum Way: String, CaseIterable, Sendable { case callbacks, tasks }

    struct Case: Sendable, CustomTestStringConvertible {
        let row: Row
        let way: Way

        var testDescription: String { "\(row.name), by \(way)" }
    }

    static let cases = rows.flatMap { row in Way.allCases.map { Case(row: row, way: $0) } }

    /// A behaviour, written in both ways, and the client that observes it.
    struct Row: Sendable {
        let name: String
        var change: @Sendable (inout Options) -> Void = { _ in }
        let callbacks: TestHandler
        let task: TaskTests.Body
        let client: @Sendable (TestServer) throws -> Void
    }

    static let large = Pattern(stream: 7)
    static let largeCount = 4 << 20

    static let rows: [Row] = [
        Row(
            name: "bytes are echoed in order",
            callbacks: TestHandler(),
            task: { connection in
                for try await bytes in connection.chunks { try await connection.write(bytes) }
            },
            client: { server in
                let client = try server.connect()
                for _ in 0..<3 {
                    #expect(try client.roundTrip([UInt8](repeating: 5, count: 70_000)))
                }
            }),
        Row(
            name: "written bytes are sent before a close of ours, whatever is unread",
            callbacks: TestHandler(traffic: { connection in
                guard connection.buffered > 0 else { return .none }
                connection.write(large.bytes(largeCount))
                return .close
            }),
            task: { connection in
                _ = try await connection.read(exactly: 1) { _ in }
                connection.gather(large.bytes(largeCount))
            },
            client: { server in
                let client = try server.connect()
                try client.send("more than it reads")
                let (count, end) = try client.receiveUntilEnd(large)
                #expect(count == largeCount && end == .clean)
            }),
        Row(
            name: "an error closes after the written bytes",
            callbacks: TestHandler(traffic: { connection in
                connection.discardAll()
                connection.write("sorry")
                throw Mishap()
            }),
            task: { connection in
                _ = try await connection.read()
                try await connection.write("sorry")
                throw Mishap()
            },
            client: { server in
                let client = try server.connect()
                try client.send("x")
                let (text, end) = try client.receiveTextUntilEnd()
                #expect(text == "sorry" && end == .clean)
            }),
        Row(
            name: "a frame above its limit closes",
            callbacks: TestHandler(traffic: { connection in
                while let line = try connection.nextLine(limit: 10) { connection.write(line) }
                return .none
            }),
            task: { connection in
                for try await line in connection.lines(limit: 10) {
                    try await connection.write(line)
                }
            },
            client: { server in
                let client = try server.connect()
                try client.send("short\nmuch longer than ten\n")
                let (text, _) = try client.receiveTextUntilEnd()
                #expect(text == "short")
            }),
        Row(
            name: "after the peer's end the answer still arrives",
            change: { $0.allowHalfClosure = true },
            callbacks: TestHandler(
                traffic: TestHandler.ignore,
                halfClose: { connection in
                    connection.write("\(connection.buffered) bytes")
                    return .close
                }),
            task: { connection in
                var count = 0
                while let bytes = try await connection.read() { count += bytes.count }
                try await connection.write("\(count) bytes")
            },
            client: { server in
                let client = try server.connect()
                try client.send([UInt8](repeating: 1, count: 10_000))
                client.shutdownWrite()
                let (text, end) = try client.receiveTextUntilEnd()
                #expect(text == "10000 bytes" && end == .clean)
            }),
        Row(
            name: "our end leaves the other direction open",
            callbacks: TestHandler(
                open: { connection in
                    connection.write("ended")
                    connection.shutdownWrite()
                    return .none
                },
                traffic: { connection in connection.next().equals("go") ? .close : .none }),
            task: { connection in
                try await connection.write("ended")
                connection.finish()
                _ = try await connection.read(exactly: 2) { _ in }
            },
            client: { server in
                let client = try server.connect()
                let (text, end) = try client.receiveTextUntilEnd()
                #expect(text == "ended" && end == .clean)
                #expect(server.server.connectionCount == 1)
                try client.send("go")
                try server.waitUntilEmpty()
            }),
        Row(
            name: "an abort is a reset",
            callbacks: TestHandler(traffic: { connection in
                connection.abort()
                return .none
            }),
            task: { connection in
                _ = try await connection.read()
                connection.abort()
            },
            client: { server in
                let client = try server.connect()
                try client.send("x")
                #expect(try client.receiveEnd().isReset)
            }),
        Row(
            name: "a peer that never reads, and more output than the limit, is reset",
            change: { $0.limits.outboundBytes = 1 << 20 },
            callbacks: TestHandler(traffic: { connection in
                connection.discardAll()
                for _ in 0..<64 { connection.write(large.bytes(1 << 20)) }
                return .none
            }),
            task: { connection in
                _ = try await connection.read()
                for _ in 0..<64 { connection.gather(large.bytes(1 << 20)) }
                try await connection.drained()
            },
            client: { server in
                let client = try server.connect(receiveBuffer: 4096)
                try client.send("x")
                try server.waitUntilEmpty()
                let (_, end) = try client.receiveUntilEnd()
                #expect(end.isReset)
            }),
        Row(
            name: "a silent peer is closed after the idle time-out",
            change: { $0.timeouts.idle = .milliseconds(150) },
            callbacks: TestHandler(),
            task: { connection in
                for try await bytes in connection.chunks { try await connection.write(bytes) }
            },
            client: { server in
                // On a machine that stands still, a client may be closed before it is awake.
                let deadline = Deadline()
                var client = try server.connect()
                while (try? client.roundTrip("awake")) != true {
                    try deadline.check("a client that is awake")
                    client = try server.connect()
                }
                _ = try client.receiveEnd()
            }),
        Row(
            name: "a peer's reset ends the connection, and no other",
            callbacks: TestHandler(),
            task: { connection in
                for try await bytes in connection.chunks { try await connection.write(bytes) }
            },
            client: { server in
                let (first, second) = (try server.connect(), try server.connect())
                #expect(try first.roundTrip("x"))
                first.reset()
                try eventually("one is left") { server.server.connectionCount <= 1 }
                #expect(try second.roundTrip("still here"))
            }),
        Row(
            name: "a request in progress at a stop is answered",
            callbacks: TestHandler(traffic: { connection in
                connection.discardAll()
                connection.isBusy = true
                connection.schedule(after: .milliseconds(150)) { connection in
                    connection.write("answer")
                    connection.isBusy = false
                }
                connection.server.requestStop(within: patience)
                return .none
            }),
            task: { connection in
                _ = try await connection.read()
                connection.loop.execute { $0.server.requestStop(within: patience) }
                try await Task.sleep(for: .milliseconds(150))
                try await connection.write("answer")
            },
            client: { server in
                let client = try server.connect()
                try client.send("ask")
                let (text, end) = try client.receiveTextUntilEnd()
                #expect(text == "answer" && end == .clean)
            }),
    ]

    @Test("callbacks and tasks behave alike", arguments: Setup.all, cases)
    func same(_ setup: Setup, _ one: Case) throws {
        let (row, options) = (one.row, setup.options(one.row.change))
        switch one.way {
        case .callbacks:
            try serve(
                try Server(row.callbacks, listen: anyPort, options: options), row.client)
        case .tasks:
            let ended = Shared(0)
            let server = try Server(listen: anyPort, options: options) { connection in
                defer { ended.update { $0 += 1 } }
                try await row.task(connection)
            }
            try serve(server, row.client)
            try eventually("each task ends") { ended.value == server.statistics.accepted }
        }
    }
}
