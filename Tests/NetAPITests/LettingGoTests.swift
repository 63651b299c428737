/// Tests of objects that a program keeps after a server's end: handlers are freed, descriptors are
/// closed, and the kept objects behave as ended.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct LettingGoTests {
    /// The object that a handler holds as long as it lives.
    enum Habit: String, CaseIterable, Sendable {
        case loop, timer, loopTimer, connection, handle, server
    }

    /// One for each loop: not Sendable, so that it may hold its loop's objects.
    private final class Keeper: EventHandler {
        private let alive: Shared<Int>
        private let habit: Habit
        private let handles: Shared<[LoopHandle]>
        private var loop: Loop?
        private var connections: [Connection] = []
        private var timer: ScheduledTimer?
        private var server: Server?
        private var ticks = 0

        init(_ habit: Habit, _ alive: Shared<Int>, _ handles: Shared<[LoopHandle]>) {
            self.habit = habit
            self.alive = alive
            self.handles = handles
            alive.update { $0 += 1 }
        }

        deinit { alive.update { $0 -= 1 } }

        func onBoot(_ loop: Loop) -> Action {
            switch habit {
            case .loop: self.loop = loop
            case .timer: timer = loop.schedule(every: .milliseconds(1)) { self.ticks += 1 }
            case .loopTimer:
                loop.schedule(every: .milliseconds(1)) { self.ticks += loop.index + 1 }
                loop.schedule(after: .seconds(600)) { self.loop = loop }
            case .connection: break
            case .handle: handles.update { [handle = loop.handle] in $0.append(handle) }
            case .server: server = loop.server
            }
            return .none
        }

        func onTraffic(_ connection: Connection) -> Action {
            if habit == .connection { connections.append(connection) }
            connection.write(connection.next())
            return .none
        }
    }

    /// Serves clients on each loop, stops, and releases the server.
    private static func serveOnce(
        _ setup: Setup, _ habit: Habit, _ alive: Shared<Int>, _ handles: Shared<[LoopHandle]>
    ) throws {
        let server = try Server(listen: anyPort, options: setup.options()) {
            Keeper(habit, alive, handles)
        }
        try serve(server) { server in
            #expect(alive.value == setup.loops)
            let clients = try (0..<2 * setup.loops).map { _ in try server.connect() }
            for client in clients { #expect(try client.roundTrip("hello")) }
        }
        // Also while the server still exists.
        try eventually("handlers are let go of") { alive.value == 0 }
    }

    @Test(
        "handlers that keep objects of the server are freed after it ends",
        arguments: Setup.all, Habit.allCases)
    func handlersThatKeepThingsAreLetGoOf(_ setup: Setup, _ habit: Habit) throws {
        let (alive, handles) = (Shared(0), Shared<[LoopHandle]>([]))
        try Self.serveOnce(setup, habit, alive, handles)
        let before = Probe.descriptors
        for _ in 0..<20 { try Self.serveOnce(setup, habit, alive, handles) }
        try eventually("every descriptor closed") { Probe.descriptors <= before }
        #expect(handles.value.allSatisfy { !$0.execute { _ in } })
    }

    /// Shared by all loops and by the code that created it.
    private final class Sharing: EventHandler, Sendable {
        let box = LoopBox()
        private let alive: Shared<Int>

        init(_ alive: Shared<Int>) {
            self.alive = alive
            alive.update { $0 += 1 }
        }

        deinit { alive.update { $0 -= 1 } }

        func onBoot(_ loop: Loop) -> Action {
            box.loop = loop
            loop.schedule(every: .milliseconds(1)) { self.box.loop = loop }
            return .none
        }

        func onTraffic(_ connection: Connection) -> Action { .close }
    }

    @Test("a shared handler that keeps a loop is freed with its server", arguments: Setup.all)
    func aSharedHandlerThatKeepsALoopIsLetGoOfWithItsServer(_ setup: Setup) throws {
        let alive = Shared(0)
        func once() throws {
            let server = try Server(Sharing(alive), listen: anyPort, options: setup.options())
            try serve(server) { _ in
                #expect(alive.value == 1)
            }
        }
        try once()
        try eventually("the handler is let go of") { alive.value == 0 }
    }

    @Test("kept loops hold no descriptors after the server ends", arguments: Setup.all)
    func loopsThatAreKeptHoldNoDescriptors(_ setup: Setup) throws {
        let kept = Shared<[LoopBox]>([])
        // Each box holds its server, and the server holds the closure that has the box.
        defer { for box in kept.value { box.loop = nil } }
        func once() throws {
            let handler = TestHandler(boot: { loop in
                let box = LoopBox()
                box.loop = loop
                kept.update { $0.append(box) }
                return .none
            })
            let server = try Server(listen: anyPort, options: setup.options()) { handler }
            try serve(server) { server in
                let client = try server.connect()
                #expect(try client.roundTrip("x"))
            }
        }
        try once()
        let before = Probe.descriptors
        for _ in 0..<20 { try once() }
        try eventually("every descriptor closed") { Probe.descriptors <= before }
        #expect(kept.value.count == 21 * setup.loops)
    }

    @Test("a kept loop behaves as an ended loop", arguments: Setup.all)
    func aLoopThatIsKeptAnswersAsOneThatHasEnded(_ setup: Setup) throws {
        let kept = Shared<[LoopBox]>([])
        let alive = Shared(0)
        let handler = TestHandler(boot: { loop in
            let box = LoopBox()
            box.loop = loop
            kept.update { $0.append(box) }
            return .none
        })
        let server = try Server(listen: anyPort, options: setup.options()) { handler }
        try serve(server) { server in
            let client = try server.connect()
            #expect(try client.roundTrip("x"))
        }
        let ran = Shared(0)
        for box in kept.value {
            guard let loop = box.loop else { throw Mishap(text: "no loop was kept") }
            #expect(loop.server === server)
            #expect(loop.isStopping)
            #expect(loop.connections.map(\.handle).isEmpty)
            #expect(!loop.handle.execute { _ in ran.update { $0 += 1 } })
            for every in [false, true] {
                let guest = StateTests.Visitor("of a timer", alive)
                let body = { ran.update { $0 += guest.name.count } }
                if every {
                    loop.schedule(every: .milliseconds(1), body)
                } else {
                    loop.schedule(after: .zero, body)
                }
            }
            #expect(alive.value == 0, "a timer of a loop that has ended keeps nothing")
            box.loop = nil
        }
        #expect(kept.value.count == setup.loops)
        #expect(ran.value == 0)
    }

    // MARK: Use of a connection during its release

    /// Belongs to a connection, and makes every call on it in its deinit.
    private final class Guest {
        private let connection: Connection
        private let other: PerConnection<String>
        private let said: Shared<[String]>

        init(_ connection: Connection, _ other: PerConnection<String>, _ said: Shared<[String]>) {
            self.connection = connection
            self.other = other
            self.said = said
        }

        func use() {}

        deinit {
            let context = connection.context == nil ? "no context" : "a context"
            let state = connection.isOpen ? "open" : "closed"
            connection.write("too late")
            connection.context = said
            connection[other] = "changed"
            let value = connection[other]
            connection.isBusy = true
            connection.schedule(after: .zero) { [said] _ in said.update { $0.append("timer") } }
            _ = connection.buffered
            _ = connection.remoteAddress
            connection.close()
            connection.abort()
            let loop = connection.loop.index
            let text = "\(state), \(context), \(value.isEmpty ? "" : "a value"), loop \(loop >= 0)"
            said.update { $0.append(text) }
        }
    }

    /// Connections whose clients leave, and connections that the stop closes; also with hosts
    /// counted, whose record stays longer.
    @Test(
        "an object that a connection keeps may use the connection while it is released",
        arguments: Setup.all, [false, true])
    func whatAConnectionKeepsMayUseItAsItGoes(_ setup: Setup, _ countsHosts: Bool) throws {
        let said = Shared<[String]>([])
        let (other, guest) = (PerConnection("initial"), PerConnection<Guest?>(nil))
        let handler = TestHandler(
            open: { connection in
                connection.context = Guest(connection, other, said)
                connection[guest] = Guest(connection, other, said)
                connection[other] = "set"
                return .none
            },
            traffic: { connection in
                connection[guest]?.use()
                return try TestHandler.echo(connection)
            })
        let options = setup.options { if countsHosts { $0.limits.connectionsPerHost = 1000 } }
        try withServer(setup, handler, options: options) { server in
            let clients = try (0..<20).map { _ in try server.connect() }
            for client in clients { #expect(try client.roundTrip("hello")) }
            for client in clients.prefix(5) { client.close() }
            for client in clients.dropFirst(5).prefix(5) { client.reset() }
            try eventually("those of ten are gone") { said.value.count >= 20 }
            let next = try server.connect()
            #expect(try next.roundTrip("the next life of a slot"))
        }
        try eventually("all are gone") { said.value.count >= 42 }
        #expect(said.value.count == 42)
        #expect(said.value.allSatisfy { $0.hasPrefix("closed, ") }, "\(said.value)")
        #expect(said.value.allSatisfy { $0.hasSuffix(", loop true") })
    }
}
