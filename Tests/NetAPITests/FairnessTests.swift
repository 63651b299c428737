/// Tests of fairness: connections that are served stay served under any load on their loop.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct FairnessTests {
    /// Echoes. Input that began with a zero is discarded.
    private struct Host: EventHandler, Sendable {
        var openingWork = Duration.zero
        private let isFlood = PerConnection(false)

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
                connection.write(connection.next())
            }
            return .none
        }
    }

    /// Generous, for a debug build on a busy machine. A fair answer needs a few milliseconds.
    private static let limit = Probe.isSanitized ? patience : .milliseconds(250)

    /// Repeated until the test is over; a long load checks `isOver` itself.
    private typealias Load = @Sendable (_ server: TestServer, _ isOver: Shared<Bool>) throws -> Void

    /// Expects that connected clients wait for no answer longer than the limit, in two seconds
    /// without a pause of the machine.
    private func expectAnswers(
        _ setup: Setup, _ host: Host = Host(), beside loads: [Load]
    ) throws {
        try promptly("the longest wait", within: Self.limit) {
            try longestWait(setup, host, beside: loads)
        }
    }

    /// Returns the longest time that connected clients wait for an answer in two seconds, beside
    /// one thread for each of `loads`.
    private func longestWait(
        _ setup: Setup, _ host: Host, beside loads: [Load]
    ) throws -> Duration {
        let server = try Server(host, listen: anyPort, options: setup.options())
        return try serve(server) { server in
            // One client on each loop.
            let clients = try (0..<setup.loops).map { _ in try server.connect() }
            for client in clients { #expect(try client.roundTrip("here")) }
            let isOver = Shared(false)
            let threads = loads.map { load in
                Worker { while !isOver.value { try? load(server, isOver) } }
            }
            defer { isOver.value = true }
            var longest = Duration.zero
            let end = Deadline(.seconds(2))
            while !end.isPast {
                for client in clients {
                    let time = try elapsed {
                        let isServed = try client.roundTrip("are you there?")
                        #expect(isServed)
                    }
                    longest = max(longest, time)
                }
                pause(.milliseconds(1))
            }
            isOver.value = true
            for thread in threads { try thread.join("a thread of the load") }
            return longest
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
