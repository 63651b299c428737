/// Tests of extreme numbers: they are refused, or treated like the largest valid value.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ExtremeValueTests {
    @Test(
        "a frame whose size exceeds Int.max throws frameTooLong",
        arguments: Setup.single, [Int.max, Int.max - 3])
    func aFrameBeyondEveryNumberIsTooLong(_ setup: Setup, _ skipped: Int) throws {
        let codes = Shared<[String]>([])
        let handler = TestHandler(traffic: { connection in
            do throws(NetError) {
                _ = try connection.nextFrame(after: skipped, length: UInt64.self, limit: .max)
            } catch {
                codes.update { $0.append("\(error.code)") }
            }
            return try TestHandler.echo(connection)
        })
        try withServer(setup, handler) { server in
            let isServed = try server.connect().roundTrip("x")
            #expect(isServed)
        }
        #expect(codes.value == ["frameTooLong"])
    }

    /// Like a write of that size: the peer is disconnected, and the memory is not allocated.
    @Test(
        "a reservation above the limit closes the connection with outboundOverflow",
        arguments: Setup.single, [Int.max, 1 << 40, 64 << 20 + 1])
    func aReservationBeyondTheLimitClosesAsOverflow(_ setup: Setup, _ capacity: Int) throws {
        let isFilled = Shared(false)
        let handler = TestHandler(traffic: { connection in
            connection.write(reserving: capacity) { _ in isFilled.value = true }
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("x")
            try handler.log.waitFor(.close)
        }
        #expect(handler.log.reasons == ["outboundOverflow"])
        #expect(!isFilled.value)
    }

    /// The same holds with unlimited limits.
    @Test(
        "a reservation of Int.max bytes closes the connection even without an outbound limit",
        arguments: Setup.single)
    func noReservationIsWithoutBound(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            connection.write(reserving: .max) { _ in }
            return .none
        })
        let options = setup.options { $0.limits.outboundBytes = .max }
        try withServer(setup, handler, options: options) { server in
            let client = try server.connect()
            try client.send("x")
            try handler.log.waitFor(.close)
        }
        #expect(handler.log.reasons == ["outboundOverflow"])
    }

    /// Durations of more seconds than an Int64 holds, which is all that `components` returns.
    private static let beyond: [Duration] = [
        .seconds(Int64.max) * 2, .seconds(Double(Int64.max)), .seconds(Int64.max) * 18,
    ]

    @Test("options refuse or accept durations of more than Int64.max seconds", arguments: beyond)
    func optionsTakeEveryDuration(_ time: Duration) throws {
        let refused: [@Sendable (inout Options, Duration) -> Void] = [
            { $0.tcp.keepAlive = $1 }, { $0.tcp.deferAccept = $1 }, { $0.busyPoll = $1 },
            { $0.minimumWait = $1 }, { $0.names.attemptDelay = $1 },
        ]
        for change in refused {
            for time in [time, .zero - time] {
                let error = #expect(throws: NetError.self) {
                    try Server(
                        TestHandler(), listen: anyPort,
                        options: Options().with { change(&$0, time) })
                }
                #expect(error?.code == .invalidOption)
            }
        }
        _ = try Server(
            TestHandler(), listen: anyPort,
            options: Options().with {
                $0.slowTurn = time
                $0.names.startTimeout = time
                $0.timeouts.idle = time
                $0.timeouts.close = time
                $0.timeouts.linger = time
                $0.timeouts.proxyHeader = time
            })
    }

    @Test("socket options and connects accept or refuse every duration", arguments: Setup.all)
    func connectionsTakeEveryDuration(_ setup: Setup) throws {
        let refused = Shared(0)
        let handler = TestHandler(traffic: { connection in
            for time in Self.beyond.flatMap({ [$0, .zero - $0] }) {
                for option in [
                    SocketOption.keepAlive(idle: time, interval: .seconds(1), count: 1),
                    .keepAlive(idle: .seconds(1), interval: time, count: 1), .userTimeout(time),
                    .linger(time),
                ] {
                    do throws(NetError) {
                        try connection.set(option)
                    } catch {
                        if error.code == .invalidOption { refused.update { $0 += 1 } }
                    }
                }
            }
            return try TestHandler.echo(connection)
        })
        try withServer(setup, handler) { server in
            #expect(try server.connect().roundTrip("x"))
            let client = try Client(TestHandler(), options: setup.options())
            try client.start()
            let results = Shared<[Bool]>([])
            for time in Self.beyond {
                client.connect(to: server.addresses[0], timeout: time) { result in
                    results.update { $0.append((try? result.get()) != nil) }
                }
            }
            try eventually("all are connected") { results.value.count == Self.beyond.count }
            #expect(results.value.allSatisfy { $0 })
            try bounded("stop") { client.stop(within: Self.beyond[0]) }
        }
        #expect(refused.value == Self.beyond.count * 2 * 4)
    }

    @Test("timers accept every duration", arguments: Setup.all)
    func timersTakeEveryDuration(_ setup: Setup) throws {
        let (ticks, late) = (Shared(0), Shared(0))
        let start = Shared(ContinuousClock.now)
        let handler = TestHandler(boot: { loop in
            guard loop.index == 0 else { return .none }
            start.value = .now
            for time in [.seconds(Int64.max), .seconds(1 << 40)] + Self.beyond {
                loop.schedule(after: time) { late.update { $0 += 1 } }
                loop.schedule(every: time) { late.update { $0 += 1 } }
            }
            for time in [.seconds(Int64.min)] + Self.beyond.map({ .zero - $0 }) {
                loop.schedule(after: time) { ticks.update { $0 += 1 } }
            }
            loop.schedule(every: .zero) { ticks.update { $0 += 1 } }
            loop.schedule(every: .seconds(-5)) { ticks.update { $0 += 1 } }
            return .none
        })
        try withServer(setup, handler) { server in
            try eventually("they run") { ticks.value > 200 }
            let count = ticks.value
            let milliseconds = Int(start.value.duration(to: .now) / .milliseconds(1))
            // Two timers, each at most once in a millisecond, and those that run once.
            #expect(count <= 2 * (milliseconds + 2) + 1 + Self.beyond.count)
            #expect(try server.connect().roundTrip("x"))
        }
        #expect(late.value == 0)
    }

    @Test(
        "stop accepts every time limit",
        arguments: Setup.all,
        [Duration.seconds(Int64.max), .seconds(Int64.min), .seconds(-1)] + beyond
            + beyond.map { .zero - $0 })
    func aStopTakesEveryLimit(_ setup: Setup, _ limit: Duration) throws {
        let server = try Server(TestHandler(), listen: anyPort, options: setup.options())
        try server.start()
        let client = try TestClient(to: server.boundAddresses[0])
        #expect(try client.roundTrip("x"))
        try bounded("stop") { server.stop(within: limit) }
        #expect(server.connectionCount == 0)
    }

    /// A loop that checks a deadline more often than its timers' clock advances would spin.
    @Test("a write timeout of one microsecond does not cause a busy loop", arguments: Setup.single)
    func aTimeoutOfNothingDoesNotSpin(_ setup: Setup) throws {
        let options = setup.options { $0.timeouts.write = .microseconds(1) }
        try withServer(setup, options: options) { server in
            let client = try server.connect()
            #expect(try client.roundTrip("x"))
            // Both reads of the counter are within the time.
            let start = ContinuousClock.now
            let turns = server.server.statistics.turns
            pause(.milliseconds(200))
            let taken = server.server.statistics.turns - turns
            let most = Int(start.duration(to: .now) / .milliseconds(1)) * 2 + 100
            #expect(taken < most, "\(taken) turns")
        }
    }

    @Test("an unlimited worker queue accepts work", arguments: Setup.all)
    func aQueueWithoutABoundTakesWork(_ setup: Setup) throws {
        let options = setup.options {
            $0.workers.queued = .max
            $0.workers.perConnection = .max
        }
        let handler = TestHandler(traffic: { connection in
            let bytes = connection.readArray()
            connection.offload({ bytes }, then: { $0.write($1) })
            return .none
        })
        try withServer(setup, handler, options: options) { server in
            let isServed = try server.connect().roundTrip("x")
            #expect(isServed)
        }
    }
}
