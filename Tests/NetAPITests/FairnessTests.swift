/// Tests of fairness: connections that are served stay served under any load on their loop.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct FairnessTests {
    /// Echoes. Input that began with a zero is discarded.
    private struct Host: EventHandler, Sendable {
        var openingWork = Duration.zero
        /// The most processor time of a loop between two requests of one client.
        let longest = Shared(Duration.zero)
        private let isFlood = PerConnection(false)
        private let served = PerConnection(Duration?.none)

        init(openingWork: Duration = .zero) { self.openingWork = openingWork }

        func onOpen(_ connection: Connection) -> Action {
            work(for: openingWork)
            return .none
        }

        func onTraffic(_ connection: Connection) -> Action {
            if connection.peekInteger(as: UInt8.self) == 0 { connection[isFlood] = true }
            if connection[isFlood] {
                connection.discardAll()
            } else {
                noteRequest(connection)
                connection.write(connection.next())
            }
            return .none
        }

        private func noteRequest(_ connection: Connection) {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            let now = Duration.seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
            if let last = connection[served] { longest.update { $0 = max($0, now - last) } }
            connection[served] = now
        }
    }

    /// Processor time, which is the same on a busy machine; each wait is bounded by `patience` too.
    /// Generous, for a debug build: a fair answer needs a few milliseconds.
    private static let limit = Probe.isSanitized ? patience : .milliseconds(250)

    /// Repeated until the test is over; a long load checks `isOver` itself.
    private typealias Load = @Sendable (_ server: TestServer, _ isOver: Shared<Bool>) throws -> Void

    /// Expects that no loop does more than the limit allows between two requests of a connected
    /// client, in two seconds beside one thread for each of `loads`.
    private func expectAnswers(
        _ setup: Setup, _ host: Host = Host(), beside loads: [Load]
    ) throws {
        let server = try Server(host, listen: anyPort, options: setup.options())
        try serve(server) { server in
            // One client on each loop.
            let clients = try (0..<setup.loops).map { _ in try server.connect() }
            for client in clients { #expect(try client.roundTrip("here")) }
            let isOver = Shared(false)
            let threads = loads.map { load in
                Worker { while !isOver.value { try? load(server, isOver) } }
            }
            defer { isOver.value = true }
            let end = Deadline(.seconds(2))
            while !end.isPast {
                for client in clients {
                    let isServed = try client.roundTrip("are you there?")
                    #expect(isServed)
                }
                pause(.milliseconds(1))
            }
            isOver.value = true
            for thread in threads { try thread.join("a thread of the load") }
            #expect(host.longest.value > .zero && host.longest.value < Self.limit)
        }
    }

    private static let connectAndReset: Load = { server, _ in
        try server.connect().reset()
    }

    @Test(
        "connected clients receive answers while other clients connect and reset constantly",
        arguments: Setup.all)
    func whoIsConnectedIsAnsweredBesideAFloodOfConnections(_ setup: Setup) throws {
        try expectAnswers(setup, beside: [Self.connectAndReset, Self.connectAndReset])
    }

    @Test(
        "connected clients receive answers while costly new connections arrive constantly",
        arguments: Setup.all)
    func whoIsConnectedIsAnsweredBesideAFloodOfConnectionsThatCostSomething(
        _ setup: Setup
    ) throws {
        let host = Host(openingWork: .microseconds(400))
        try expectAnswers(setup, host, beside: [Self.connectAndReset, Self.connectAndReset])
    }

    @Test(
        "connected clients receive answers while other threads post messages constantly",
        arguments: Setup.all)
    func whoIsConnectedIsAnsweredBesideAFloodOfMessages(_ setup: Setup) throws {
        try expectAnswers(
            setup, beside: [{ server, _ in server.server.forEachConnection { _ in } }])
    }

    @Test(
        "connected clients receive answers while another client sends bytes constantly",
        arguments: Setup.all)
    func whoIsConnectedIsAnsweredBesideAFloodOfBytes(_ setup: Setup) throws {
        let flood: Load = { server, isOver in
            let client = try server.connect()
            let zeros = [UInt8](repeating: 0, count: 262_144)
            while !isOver.value { try client.send(zeros) }
        }
        try expectAnswers(setup, beside: [flood])
    }
}

/// Keeps a processor busy for `time`.
private func work(for time: Duration) {
    guard time > .zero else { return }
    let end = ContinuousClock.now + time
    while ContinuousClock.now < end {}
}
