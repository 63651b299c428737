/// Tests that a server and a client log to the logger of their options.
import Logging
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct LoggerTests {
    private let lines = Shared<[String]>([])

    /// Options with a logger that keeps its lines.
    private func options(_ setup: Setup) -> Options {
        setup.options {
            $0.slowTurn = .milliseconds(1)
            $0.logger = Logger(label: "program") { Keeper(label: $0, lines: lines) }
        }
    }

    /// Holds its loop, which is reported. The loop looks for turns of more than 20 ms.
    private let hold: TestHandler.OnConnection = { _ in
        pause(.milliseconds(30))
        return .none
    }

    private func isKept(_ start: String) -> Bool {
        lines.value.contains { $0.hasPrefix(start) }
    }

    @Test("the lines of a server go to the logger of its options", arguments: Setup.all)
    func server(_ setup: Setup) throws {
        let handler = TestHandler(
            open: hold,
            traffic: { connection in
                connection.server.stop()
                return try TestHandler.echo(connection)
            })
        try withServer(setup, handler, options: options(setup)) { server in
            let client = try server.connect()
            try client.send("x")
            #expect(try client.receiveTextUntilEnd() == ("x", .clean))
            client.close()
        }
        #expect(isKept("program: warning: callbacks held loop "))
        #expect(isKept("program: warning: stop() on a loop does not wait"))
    }

    @Test("the lines of a client go to the logger of its options", arguments: Setup.all)
    func client(_ setup: Setup) throws {
        try withServer(setup) { server in
            let client = try Client(TestHandler(open: hold), options: options(setup))
            try bounded("Client.start") { try client.start() }
            client.connect(to: server.addresses[0]) { _ in }
            try eventually("a line") { isKept("program: warning: callbacks held loop ") }
            try bounded("Client.stop") { client.stop() }
        }
    }
}

/// Keeps the lines of a logger.
private struct Keeper: LogHandler {
    let label: String
    let lines: Shared<[String]>
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        lines.update { $0.append("\(label): \(event.level): \(event.message)") }
    }
}
