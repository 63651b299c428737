/// Tests of boot, ticks and shutdown: the callbacks of a loop apart from connections.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct TickTests {
    private static func now() -> ContinuousClock.Instant { .now }

    /// One handler per loop; all of them record in `handler`'s log.
    private func perLoop(_ setup: Setup, _ handler: TestHandler) throws -> Server {
        try Server(listen: anyPort, options: setup.options()) { handler }
    }

    @Test("every handler boots once on its loop before a client can connect", arguments: Setup.all)
    func everyHandlerBootsOnceOnItsLoopBeforeClientsCanConnect(_ setup: Setup) throws {
        let loops = Shared<[Int]>([])
        let handler = TestHandler(boot: { loop in
            let index = loop.index
            pause(.milliseconds(30))
            loops.update { $0.append(index) }
            return .none
        })
        try serve(try perLoop(setup, handler)) { server in
            #expect(loops.value.sorted() == Array(0..<setup.loops))
            let client = try server.connect()
            #expect(try client.roundTrip("x"))
        }
        #expect(handler.log.count(.boot) == setup.loops)
        #expect(handler.log.count(.shutdown) == setup.loops)
        handler.log.checkLives()
    }

    @Test("the bound addresses are known in onBoot", arguments: Setup.all)
    func anAddressIsKnownInOnBoot(_ setup: Setup) throws {
        let seen = Shared<[[Address]]>([])
        let handler = TestHandler(boot: { loop in
            let addresses = loop.server.boundAddresses
            seen.update { $0.append(addresses) }
            return .none
        })
        let bound = try serve(try perLoop(setup, handler)) { $0.addresses }
        #expect(seen.value == Array(repeating: bound, count: setup.loops))
        #expect(bound.first?.port != 0)
    }

    @Test(
        "the first tick comes at once and each later one after the returned delay",
        arguments: Setup.all)
    func aTickComesAtOnceAndThenOnlyAfterEachDelay(_ setup: Setup) throws {
        try promptly("the latest tick", within: .seconds(1)) { try latestOfFiveTicks(setup) }
    }

    /// Returns the longest delay of the first five ticks of all loops.
    private func latestOfFiveTicks(_ setup: Setup) throws -> Duration {
        let times = Shared<[Int: [ContinuousClock.Instant]]>([:])
        let loops = Shared<[Int: LoopHandle]>([:])
        let handler = TestHandler(tick: { loop in
            let index = loop.index
            loops.update { [handle = loop.handle] in $0[index] = handle }
            let time = Self.now()
            let number = times.update { times in
                times[index, default: []].append(time)
                return times[index]!.count
            }
            return number < 5 ? .after(.milliseconds(20 * number)) : .never
        })
        let start = Self.now()
        try serve(try perLoop(setup, handler)) { _ in
            try eventually("five ticks on each loop") {
                times.value.count == setup.loops && times.value.values.allSatisfy { $0.count == 5 }
            }
            let waited = Shared(0)
            for loop in loops.value.values {
                loop.execute { loop in
                    loop.schedule(after: .milliseconds(150)) { waited.update { $0 += 1 } }
                }
            }
            try eventually("150 ms of each loop") { waited.value == setup.loops }
        }
        var latest = Duration.zero
        for ticks in times.value.values {
            #expect(ticks.count == 5, "a tick after .never")
            latest = max(latest, start.duration(to: ticks[0]))
            for number in 1..<min(5, ticks.count) {
                let gap = ticks[number - 1].duration(to: ticks[number])
                #expect(gap >= .milliseconds(20 * number - 1))
                latest = max(latest, gap - .milliseconds(20 * number))
            }
        }
        return latest
    }

    /// The delay counts from the return of the previous tick.
    @Test("the delay to the next tick counts from the return of a slow tick", arguments: Setup.all)
    func aSlowTickDelaysTheNextOne(_ setup: Setup) throws {
        let gaps = Shared<[Duration]>([])
        let end = Shared<ContinuousClock.Instant?>(nil)
        let handler = TestHandler(tick: { _ in
            if let last = end.value { gaps.update { $0.append(last.duration(to: .now)) } }
            pause(.milliseconds(60))
            end.value = Self.now()
            return .after(.milliseconds(50))
        })
        try withServer(setup, handler) { _ in
            try eventually("three gaps") { gaps.value.count >= 3 }
        }
        #expect(gaps.value.allSatisfy { $0 >= .milliseconds(49) }, "\(gaps.value)")
    }

    @Test("a tick that returns .never is not called again", arguments: Setup.all)
    func neverMeansNeverAgain(_ setup: Setup) throws {
        let handler = TestHandler(tick: { _ in .never })
        try serve(try perLoop(setup, handler)) { server in
            try eventually("the first tick") { handler.log.count(.tick) == setup.loops }
            let client = try server.connect()
            for _ in 0..<20 { #expect(try client.roundTrip("x")) }
        }
        #expect(handler.log.count(.tick) == setup.loops)
    }

    @Test("a tick that returns .shutdown ends run", arguments: Setup.all)
    func shutdownAfterSomeTicksEndsRun(_ setup: Setup) throws {
        let handler = TestHandler()
        var ticking = handler
        let log = handler.log
        ticking.tick = { _ in log.count(.tick) < 4 ? .after(.milliseconds(5)) : .shutdown }
        let server = try Server(ticking, listen: anyPort, options: setup.options())
        #expect(try bounded("Server.run") { try server.run().name } == "shutdownAction")
        #expect(ticking.log.count(.tick) >= 4)
    }

    @Test("ticks continue while connections are busy", arguments: Setup.all)
    func ticksDoNotStopWhileConnectionsAreBusy(_ setup: Setup) throws {
        // The callbacks of a loop's connections since its last tick; ticks with some before them.
        let (callbacks, busy) = (Shared<[Int: Int]>([:]), Shared<[Int: Int]>([:]))
        let handler = TestHandler(
            tick: { loop in
                let index = loop.index
                let count = callbacks.update { $0.removeValue(forKey: index) ?? 0 }
                if count > 0 { busy.update { $0[index, default: 0] += 1 } }
                return .after(.milliseconds(10))
            },
            traffic: { connection in
                let index = connection.loop.index
                callbacks.update { $0[index, default: 0] += 1 }
                return try TestHandler.echo(connection)
            })
        try serve(try perLoop(setup, handler)) { server in
            // Where ticks wait for the end of the traffic, each exchange has one of them at most.
            for round in 1...20 {
                busy.value = [:]
                var flows = try (0..<2).map {
                    Flow(try server.connect(), stream: $0, length: (8 << 20) << min(round, 3))
                }
                try Exchange.run(&flows)
                let ticks = busy.value
                if ticks.count == setup.loops, ticks.values.allSatisfy({ $0 >= 3 }) { return }
            }
            Issue.record("\(busy.value) ticks in the last of twenty exchanges")
        }
    }

    @Test("a handler shared by all loops boots and shuts down once", arguments: Setup.all)
    func aHandlerSharedByAllLoopsBootsAndShutsDownOnce(_ setup: Setup) throws {
        let handler = TestHandler()
        try withServer(setup, handler) { _ in }
        #expect(handler.log.count(.boot) == 1)
        #expect(handler.log.count(.shutdown) == 1)
        #expect(handler.log.callbacks.first == .boot)
        #expect(handler.log.callbacks.last == .shutdown)
    }

    @Test("onShutdown comes after the last onClose of every loop", arguments: Setup.all)
    func onShutdownComesAfterTheLastOnCloseOfAnyLoop(_ setup: Setup) throws {
        let open = Shared<[Int]>([])
        let handler = TestHandler(
            close: { connection, _ in
                pause(.milliseconds(5))
                return .none
            })
        var telling = handler
        let log = handler.log
        telling.shutdown = { server in
            let left = log.count(.open) - log.count(.close)
            open.update { $0.append(left) }
            open.update { $0.append(server.connectionCount) }
        }
        try withServer(setup, telling) { server in
            let clients = try (0..<20).map { _ in try server.connect() }
            try log.waitFor(.open, count: 20)
            server.server.requestStop()
            for client in clients { #expect(try client.receiveEnd() == .clean) }
        }
        #expect(!open.value.isEmpty && open.value.allSatisfy { $0 == 0 })
    }
}
