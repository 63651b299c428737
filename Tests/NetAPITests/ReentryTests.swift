/// Tests that a program's object may use, in its deinit, the library object that held it.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ReentryTests {
    /// Owns a timer whose closure holds it, and cancels the timer in its deinit.
    private final class Session {
        private let gone: Shared<Int>
        var timer: ScheduledTimer?

        init(_ gone: Shared<Int>) { self.gone = gone }

        func use() {}

        deinit {
            timer?.cancel()
            gone.update { $0 += 1 }
        }
    }

    @Test("an object held by a timer may cancel the timer in its deinit", arguments: Setup.single)
    func whatATimerKeepsMayCancelIt(_ setup: Setup) throws {
        let gone = Shared(0)
        let handler = TestHandler(
            open: { connection in
                for delay in [Duration.milliseconds(1), .seconds(300)] {
                    let session = Session(gone)
                    session.timer = connection.schedule(after: delay) { _ in session.use() }
                }
                return .none
            },
            traffic: { connection in
                let session = Session(gone)
                session.timer = connection.loop.schedule(after: .seconds(300)) { session.use() }
                // Not the last release: the local variable still holds the session.
                session.timer?.cancel()
                return try TestHandler.echo(connection)
            })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            #expect(try client.roundTrip("x"))
            client.close()
            try handler.log.waitFor(.close)
            try eventually("all are let go of") { gone.value == 3 }
        }
    }

    /// Held by its connection, which its deinit still uses.
    private final class State {
        private let connection: Connection
        private let count: PerConnection<Int>
        private let gone: Shared<Int>

        init(_ connection: Connection, _ count: PerConnection<Int>, _ gone: Shared<Int>) {
            self.connection = connection
            self.count = count
            self.gone = gone
        }

        deinit {
            connection[count] += 1
            _ = connection.remoteAddress
            connection.write("to nobody")
            connection.close()
            gone.update { $0 += 1 }
        }
    }

    @Test(
        "an object held by a connection may use the connection in its deinit",
        arguments: Setup.single)
    func whatAConnectionKeepsMayUseIt(_ setup: Setup) throws {
        let gone = Shared(0)
        let count = PerConnection(0)
        let kept = PerConnection<State?>(nil)
        let handler = TestHandler(open: { connection in
            connection[kept] = State(connection, count, gone)
            connection.context = State(connection, count, gone)
            return .none
        })
        try withServer(setup, handler) { server in
            for _ in 0..<20 {
                let client = try server.connect()
                #expect(try client.roundTrip("x"))
            }
            try server.waitUntilEmpty()
            try eventually("all are let go of") { gone.value == 40 }
        }
    }
}
