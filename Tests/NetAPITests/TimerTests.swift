/// Tests of timers of a loop or a connection: in order, not early, not after cancel or close.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct TimerTests {
    /// Runs `body` on a loop of a server and waits until `words` has `count` entries, and 100 ms
    /// longer, which the loop itself measures: all that was due by then has run.
    private func onLoop(
        _ setup: Setup, expecting count: Int,
        _ body: @escaping @Sendable (Loop, Shared<[String]>) -> Void
    ) throws -> [String] {
        let words = Shared<[String]>([])
        let loops = Shared<[LoopHandle]>([])
        let handler = TestHandler(boot: { loop in
            loops.update { [handle = loop.handle] in $0.append(handle) }
            return .none
        })
        try withServer(setup, handler) { _ in
            #expect(loops.value[0].execute { body($0, words) })
            try eventually("\(count) entries") { words.value.count >= count }
            try loops.value[0].pass(.milliseconds(100))
        }
        return words.value
    }

    @Test(
        "timers run in the order of their times, and with equal times in the order of creation",
        arguments: Setup.all)
    func timersRunInTheOrderOfTheirTimesAndThenOfTheirMaking(_ setup: Setup) throws {
        let words = try onLoop(setup, expecting: 6) { loop, words in
            for (delay, word) in [(60, "c"), (20, "a"), (40, "b"), (60, "d"), (60, "e"), (0, "0")] {
                loop.schedule(after: .milliseconds(delay)) { words.update { $0.append(word) } }
            }
            #expect(words.value.isEmpty, "a timer ran inside schedule")
        }
        #expect(words == ["0", "a", "b", "c", "d", "e"])
    }

    @Test("a timer is never early and runs once", arguments: Setup.all)
    func aTimerIsNeverEarlyAndRunsOnce(_ setup: Setup) throws {
        try promptly("the latest of twenty timers", within: .seconds(1)) {
            let late = Shared<[Duration]>([])
            let words = try onLoop(setup, expecting: 20) { loop, words in
                for number in 1...20 {
                    let due = ContinuousClock.now + .microseconds(number * 3700)
                    loop.schedule(after: .microseconds(number * 3700)) {
                        late.update { $0.append(due.duration(to: .now)) }
                        words.update { $0.append("\(number)") }
                    }
                }
            }
            #expect(words.count == 20)
            // A loop reads its clock once a turn, so a millisecond is allowed.
            #expect(late.value.allSatisfy { $0 >= .milliseconds(-1) }, "early: \(late.value)")
            return late.value.max() ?? .zero
        }
    }

    /// The delay counts from the call, also late in a long callback.
    @Test("a timer scheduled late in a long callback is not early", arguments: Setup.all)
    func aTimerMadeLateInALongCallbackIsNotEarly(_ setup: Setup) throws {
        let gap = Shared(Duration.zero)
        _ = try onLoop(setup, expecting: 1) { loop, words in
            pause(.milliseconds(200))
            let start = ContinuousClock.now
            loop.schedule(after: .milliseconds(100)) {
                gap.value = start.duration(to: .now)
                words.update { $0.append("end") }
            }
        }
        #expect(gap.value >= .milliseconds(99), "\(gap.value)")
    }

    @Test("a cancelled timer does not run", arguments: Setup.all)
    func aCancelledTimerDoesNotRun(_ setup: Setup) throws {
        let words = try onLoop(setup, expecting: 1) { loop, words in
            let first = loop.schedule(after: .milliseconds(10)) { words.update { $0.append("1") } }
            let second = loop.schedule(after: .milliseconds(20)) { words.update { $0.append("2") } }
            loop.schedule(after: .milliseconds(15)) {
                second.cancel()
                words.update { $0.append("cancelled") }
            }
            first.cancel()
            first.cancel()
        }
        #expect(words == ["cancelled"])
    }

    @Test("a repeating timer repeats until it is cancelled", arguments: Setup.all)
    func aRepeatingTimerRepeatsUntilCancelled(_ setup: Setup) throws {
        let words = try onLoop(setup, expecting: 6) { loop, words in
            // Used on this loop's thread only.
            nonisolated(unsafe) var timer: ScheduledTimer?
            timer = loop.schedule(every: .milliseconds(10)) {
                words.update { $0.append("tick") }
                if words.value.count == 5 {
                    timer?.cancel()
                    loop.schedule(after: .milliseconds(50)) { words.update { $0.append("end") } }
                }
            }
        }
        #expect(words == ["tick", "tick", "tick", "tick", "tick", "end"])
    }

    @Test(
        "each run of a repeating timer comes no earlier than its multiple of the period",
        arguments: Setup.all)
    func aRepeatingTimerDoesNotDrift(_ setup: Setup) throws {
        let start = ContinuousClock.now
        let times = Shared<[Duration]>([])
        _ = try onLoop(setup, expecting: 20) { loop, words in
            loop.schedule(every: .milliseconds(10)) {
                times.update { $0.append(start.duration(to: .now)) }
                words.update { $0.append("tick") }
            }
        }
        for (place, time) in times.value.enumerated() {
            #expect(time >= .milliseconds(10 * (place + 1)))
        }
    }

    @Test("a timer may schedule further timers", arguments: Setup.all)
    func aTimerMayMakeTimers(_ setup: Setup) throws {
        let words = try onLoop(setup, expecting: 3) { loop, words in
            loop.schedule(after: .milliseconds(5)) {
                words.update { $0.append("outer") }
                loop.schedule(after: .zero) {
                    words.update { $0.append("inner") }
                    loop.schedule(after: .milliseconds(1)) { words.update { $0.append("last") } }
                }
            }
        }
        #expect(words == ["outer", "inner", "last"])
    }

    @Test(
        "a connection's timer may write, and the connection's close cancels it",
        arguments: Setup.all)
    func aConnectionsTimerMayWriteAndIsCancelledByItsClose(_ setup: Setup) throws {
        var delay = 120
        var events = try eventsOfTwoTimers(setup, second: .milliseconds(delay))
        // Where the machine stands still, the close may come after the second one is due.
        while events == ["first", "second", "closed"], delay < 20_000 {
            delay *= 2
            events = try eventsOfTwoTimers(setup, second: .milliseconds(delay))
        }
        #expect(events == ["first", "closed"])
    }

    /// Returns the runs of two timers of a connection and its close, in order. The client closes
    /// after the first one.
    private func eventsOfTwoTimers(_ setup: Setup, second delay: Duration) throws -> [String] {
        let (events, isDue) = (Shared<[String]>([]), Shared(false))
        let handler = TestHandler(
            traffic: { connection in
                connection.discardAll()
                connection.schedule(after: .milliseconds(10)) { connection in
                    events.update { $0.append("first") }
                    connection.write("tick")
                }
                connection.schedule(after: delay) { _ in events.update { $0.append("second") } }
                connection.loop.schedule(after: delay + .milliseconds(50)) { isDue.value = true }
                return .none
            },
            close: { _, _ in
                events.update { $0.append("closed") }
                return .none
            })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("x")
            #expect(try client.receiveText(exactly: 4) == "tick")
            client.close()
            try handler.log.waitFor(.close)
            try eventually("the second one's time") { isDue.value }
        }
        return events.value
    }

    @Test("five hundred timers all run, in the order of their delays")
    func manyTimersAllRunInOrder() async {
        await sideBySide(Setup.all) { setup in
            let order = Shared<[ClosedRange<ContinuousClock.Instant>]>([])
            _ = try onLoop(setup, expecting: 1) { loop, words in
                var random = SplitMix64(seed: 5)
                for _ in 0..<500 {
                    let delay = Duration.milliseconds(Int.random(in: 1...5, using: &random) * 100)
                    let begin = ContinuousClock.now
                    // Set below, on this loop's thread, before it runs.
                    nonisolated(unsafe) var end = begin
                    loop.schedule(after: delay) {
                        order.update { [end] in $0.append(begin + delay...end + delay) }
                    }
                    end = .now
                }
                loop.schedule(after: .milliseconds(601)) { words.update { $0.append("end") } }
            }
            #expect(order.value.count == 500)
            // Each counts from its own scheduling, which takes some time on a busy machine. If all
            // are scheduled within one step, this is the order of the delays.
            let misplaced = zip(order.value, order.value.dropFirst()).count { first, next in
                first.lowerBound > next.upperBound + .milliseconds(1)
            }
            #expect(misplaced == 0)
        }
    }

    /// The results of many timers; confined to their loop.
    private final class Tally {
        var timers: [ScheduledTimer] = []
        var due: [ContinuousClock.Instant] = []
        var fired: [UInt8] = []
        var early = 0
    }

    /// The loop keeps the timers: the kernel gets only the next deadline.
    @Test(
        "a million timers need far fewer system calls than one each",
        arguments: Setup.single.filter { $0.backend != .ioUringTiny })
    func aMillionTimersCostNoSystemCallEach(_ setup: Setup) throws {
        let (count, loops, done) = (1_000_000, Shared<[LoopHandle]>([]), Shared(false))
        let result = Shared<(once: Int, cancelled: Int, early: Int)>((0, 0, 0))
        let handler = TestHandler(boot: { loop in
            loops.update { [handle = loop.handle] in $0.append(handle) }
            return .none
        })
        try withServer(setup, handler) { server in
            let (memory, entries) = (residentBytes(), server.server.statistics.kernelEntries)
            loops.value[0].execute { loop in
                let tally = Tally()
                var random = SplitMix64(seed: 8)
                tally.fired = Array(repeating: 0, count: count)
                for number in 0..<count {
                    let delay = Duration.microseconds(Int.random(in: 0...3_000_000, using: &random))
                    tally.due.append(.now + delay)
                    tally.timers.append(
                        loop.schedule(after: delay) { [unowned tally] in
                            tally.fired[number] += 1
                            // The tolerance is that of a turn's clock.
                            if .now < tally.due[number] - .milliseconds(1) { tally.early += 1 }
                        })
                }
                for number in stride(from: 1, to: count, by: 2) { tally.timers[number].cancel() }
                // Fires after all others, since it is created last.
                loop.schedule(after: .milliseconds(3001)) {
                    let halves = stride(from: 0, to: count, by: 2)
                    result.value = (
                        halves.count { tally.fired[$0] == 1 },
                        halves.count { tally.fired[$0 + 1] == 0 }, tally.early
                    )
                    // Freed here and not at the end, so that the stop has nothing to wait for.
                    tally.timers = []
                    done.value = true
                }
            }
            // All of this is one thread's work, on a machine that may be busy.
            try eventually("the last one", within: patience * 8) { done.value }
            #expect(result.value == (count / 2, count / 2, 0))
            let calls = server.server.statistics.kernelEntries - entries
            #expect(calls < count / 10, "\(calls) kernel entries")
            #expect(residentBytes() - memory < 1 << 29 || Probe.isSanitized)
        }
    }
}
