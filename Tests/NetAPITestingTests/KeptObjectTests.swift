/// Tests of objects that refer to a connection, a loop or a server: they are freed in time, and
/// their last moments harm no memory.
import NetAPI
import NetAPITesting
import Testing

@Suite struct KeptObjectTests {
    /// Counts the objects that are alive.
    // Unchecked: one thread turns all loops of a network.
    private final class Alive: @unchecked Sendable {
        var count = 0
    }

    // MARK: Handlers that keep objects of the server

    private enum Habit: CaseIterable { case loop, timer, server, connection }

    /// One for each loop. It refers to the loop, the server or a timer, which refers to it.
    private final class Keeper: EventHandler {
        private let alive: Alive
        private let habit: Habit
        private var kept: [Any] = []

        init(_ habit: Habit, _ alive: Alive) {
            self.habit = habit
            self.alive = alive
            alive.count += 1
        }

        deinit { alive.count -= 1 }

        func onBoot(_ loop: Loop) -> Action {
            switch habit {
            case .loop: kept.append(loop)
            case .timer:
                kept.append(loop.schedule(every: .seconds(1)) { self.kept.append(loop) })
                loop.schedule(after: .seconds(3_600)) { self.kept.append(loop) }
            case .server: kept.append(loop.server)
            case .connection: break
            }
            return .none
        }

        func onTraffic(_ connection: Connection) -> Action {
            if habit == .connection { kept.append(connection) }
            connection.write(connection.next())
            return .none
        }
    }

    @Test(
        "a handler that keeps objects of its server is freed at the end", arguments: Habit.allCases)
    private func handlers(_ habit: Habit) throws {
        let alive = Alive()
        let server = try TestServer(options: options(loops: 2)) { Keeper(habit, alive) }
        for _ in 0..<4 {
            let peer = try server.connect()
            peer.send("abc")
            #expect(peer.received == "abc")
        }
        server.advance(by: .seconds(2))
        #expect(alive.count == 2)
        try server.stop()
        #expect(alive.count == 0)
    }

    // MARK: Values that use their connection in their deinit

    /// Uses its connection as it is freed.
    private final class Guest {
        static let guests = PerConnection<[Guest]>([])
        static let number = PerConnection(0)
        private let connection: Connection
        private let alive: Alive
        private let note: (String) -> Void

        init(_ connection: Connection, _ alive: Alive, _ note: @escaping (String) -> Void) {
            self.connection = connection
            self.alive = alive
            self.note = note
            alive.count += 1
        }

        deinit {
            alive.count -= 1
            // The variables are gone, so each read makes a new one.
            note("\(connection.isOpen) \(connection[Self.number])")
            connection[Self.number] += 1
            connection.context = nil
            connection.write("late")
            connection.close()
        }
    }

    private final class Inviting: EventHandler {
        let alive: Alive
        var notes: [String] = []

        init(_ alive: Alive) { self.alive = alive }

        func onTraffic(_ connection: Connection) -> Action {
            func guest() -> Guest { Guest(connection, alive) { self.notes.append($0) } }
            connection[Guest.guests] = (0..<3).map { _ in guest() }
            connection[Guest.number] = 7
            connection.context = guest()
            return connection.next().byteCount > 1 ? .close : .none
        }
    }

    @Test("a value that is freed with its connection may use it", arguments: ["a", "ab"])
    func values(_ text: String) throws {
        let alive = Alive()
        // One thread turns all loops of a network.
        nonisolated(unsafe) let handler = Inviting(alive)
        let server = try TestServer { handler }
        let peer = try server.connect()
        peer.send(TestBytes(text))
        if text == "a" {
            #expect(alive.count == 4)
            peer.reset()
        }
        #expect(alive.count == 0)
        #expect(handler.notes == [String](repeating: "false 0", count: 4))
        #expect(peer.received.isEmpty)
        try server.stop()
    }

    // MARK: Changes inside a change

    private static let words = PerConnection<[String]>([])

    private static func change(_ words: inout [String], _ body: () -> Void) {
        words.append("before")
        body()
        words.append("after")
    }

    private struct Overlapping: EventHandler {
        let body: @Sendable (Connection) -> Void

        func onTraffic(_ connection: Connection) -> Action {
            change(&connection[words]) { body(connection) }
            connection.write(connection.next())
            return .none
        }
    }

    /// Echoes a byte in a server whose handler runs `body` inside a change of `words`.
    private static func serve(_ body: @escaping @Sendable (Connection) -> Void) throws {
        let server = try TestServer(Overlapping(body: body))
        let peer = try server.connect()
        peer.send("x")
        #expect(peer.received == "x")
    }

    @Test("a use of a per-connection variable inside its own change ends the program")
    func overlaps() async throws {
        try Self.serve { _ in }
        await #expect(processExitsWith: .failure) {
            try KeptObjectTests.serve { $0[KeptObjectTests.words].append("inside") }
        }
        await #expect(processExitsWith: .failure) {
            try KeptObjectTests.serve { connection in
                withExtendedLifetime(connection[KeptObjectTests.words]) {}
            }
        }
    }
}
