/// Tests of the timer queue against a list that is searched from end to end.
import MillraceTestSupport
import Testing

@testable import MillraceEventLoop

@Suite struct TimerQueueTests {
    private struct Plan {
        let deadline: Nanoseconds
        let number: Int
        let id: TimerQueue<Int>.ID

        func isBefore(_ other: Plan) -> Bool {
            (deadline, number) < (other.deadline, other.number)
        }
    }

    @Test(
        "random operations on the timer queue have the same results as on a list",
        arguments: Trial.seeds)
    func agreesWithAList(seed: UInt64) throws {
        var trial = Trial(seed)
        var queue = TimerQueue<Int>()
        var plans: [Plan] = []
        var over: [TimerQueue<Int>.ID] = []
        var now: Nanoseconds = 0
        for number in 0..<2000 {
            switch trial.random.below(100) {
            case 0..<45:
                // A narrow range, so that many deadlines are equal.
                let deadline = now - 5 + Nanoseconds(trial.random.below(60))
                trial.begin("schedule \(number) at \(deadline)")
                let id = queue.schedule(at: deadline, number)
                try trial.check(queue.isScheduled(id), "not scheduled")
                plans.append(Plan(deadline: deadline, number: number, id: id))
            case 45..<60 where !plans.isEmpty:
                let plan = plans.remove(at: trial.random.below(plans.count))
                trial.begin("cancel \(plan.number)")
                try trial.check(queue.cancel(plan.id), "not found")
                over.append(plan.id)
            case 60..<70 where !over.isEmpty:
                trial.begin("cancel a stale ID")
                let id = over[trial.random.below(over.count)]
                try trial.check(!queue.isScheduled(id), "still scheduled")
                try trial.check(!queue.cancel(id), "it cancelled something")
            default:
                now += Nanoseconds(trial.random.below(4))
                trial.begin("popDue at \(now)")
                if let id = try popDue(&queue, &plans, now, trial) { over.append(id) }
            }
            try compare(queue, plans, trial)
        }
    }

    /// Returns the ID of the timer that fired.
    private func popDue(
        _ queue: inout TimerQueue<Int>, _ plans: inout [Plan], _ now: Nanoseconds, _ trial: Trial
    ) throws -> TimerQueue<Int>.ID? {
        let due = plans.indices.filter { plans[$0].deadline <= now }
            .min { plans[$0].isBefore(plans[$1]) }
        let fired = queue.popDue(at: now)
        let expected = due.map { plans[$0].number }
        try trial.check(fired == expected, "\(fired as Any), not \(expected as Any)")
        return due.map { plans.remove(at: $0).id }
    }

    private func compare(_ queue: TimerQueue<Int>, _ plans: [Plan], _ trial: Trial) throws {
        try trial.check(queue.count == plans.count, "count \(queue.count), not \(plans.count)")
        try trial.check(queue.isEmpty == plans.isEmpty, "isEmpty \(queue.isEmpty)")
        let earliest = plans.map(\.deadline).min()
        try trial.check(
            queue.nextDeadline == earliest,
            "next at \(queue.nextDeadline as Any), not \(earliest as Any)")
    }

    @Test("timers with equal deadlines fire in the order of their scheduling")
    func equalDeadlinesFireInTheOrderOfScheduling() {
        var queue = TimerQueue<Int>()
        var ids: [TimerQueue<Int>.ID] = []
        for number in 0..<1000 { ids.append(queue.schedule(at: 5, number)) }
        // A cancel moves the last entry of the heap into the gap.
        for number in stride(from: 0, to: 1000, by: 7) { queue.cancel(ids[number]) }
        for number in 1000..<1100 { queue.schedule(at: 5, number) }
        var fired: [Int] = []
        while let number = queue.popDue(at: 5) { fired.append(number) }
        #expect(fired == (0..<1000).filter { $0 % 7 != 0 } + Array(1000..<1100))
    }

    @Test("of 100,000 timers, all that are not cancelled fire in the order of their deadlines")
    func hundredThousandTimers() {
        var random = SplitMix64(seed: 11)
        var queue = TimerQueue<Int>()
        var plans: [Plan] = []
        for number in 0..<100_000 {
            let deadline = Nanoseconds(random.below(20_000))
            let id = queue.schedule(at: deadline, number)
            plans.append(Plan(deadline: deadline, number: number, id: id))
        }
        var cancelled = 0
        for plan in plans where plan.number % 3 == 0 && queue.cancel(plan.id) { cancelled += 1 }
        #expect(cancelled == 33_334)
        let expected = plans.filter { $0.number % 3 != 0 }.sorted { $0.isBefore($1) }
        var fired: [Int] = []
        fired.reserveCapacity(expected.count)
        for now in stride(from: Nanoseconds(0), through: 20_000, by: 50) {
            while let number = queue.popDue(at: now) { fired.append(number) }
        }
        // Compares to a Bool: the difference of two such arrays would take minutes to compute.
        let isRight = fired == expected.map(\.number)
        #expect(isRight, "\(fired.count) fired, \(expected.count) were due")
        #expect(queue.isEmpty && queue.nextDeadline == nil)
    }

    @Test("the ID of a fired or cancelled timer does not cancel a later timer")
    func aStaleIdDoesNotReachTheNextTimer() {
        var queue = TimerQueue<Int>()
        let fired = queue.schedule(at: 1, 1)
        let first = queue.popDue(at: 1)
        #expect(first == 1)
        let cancelled = queue.schedule(at: 2, 2)
        let isCancelled = queue.cancel(cancelled)
        #expect(isCancelled)
        let alive = queue.schedule(at: 3, 3)
        for id in [fired, cancelled, .none] {
            #expect(!queue.isScheduled(id))
            let didCancel = queue.cancel(id)
            #expect(!didCancel)
        }
        #expect(queue.isScheduled(alive) && queue.count == 1)
        #expect(Set([fired, cancelled, alive, .none]).count == 4)
    }

    @Test("a timer does not fire before its deadline")
    func nothingFiresBeforeItsTime() {
        var queue = TimerQueue<Int>()
        queue.schedule(at: .max, 3)
        queue.schedule(at: 10, 2)
        queue.schedule(at: .min, 1)
        #expect(queue.nextDeadline == .min)
        let times: [(Nanoseconds, Int?)] = [
            (.min, 1), (9, nil), (10, 2), (.max - 1, nil), (.max, 3), (.max, nil),
        ]
        for (now, expected) in times {
            let fired = queue.popDue(at: now)
            #expect(fired == expected, "at \(now)")
        }
    }

    @Test("the queue releases the payload of a timer that fires or is cancelled")
    func letsGoOfPayloads() {
        let census = Census()
        var queue = TimerQueue<Census.Resident>()
        let ids = (0..<10).map { queue.schedule(at: Nanoseconds($0), census.resident($0)) }
        #expect(census.alive == 10)
        queue.cancel(ids[4])
        #expect(census.alive == 9)
        for _ in 0..<5 { _ = queue.popDue(at: 100) }
        #expect(census.alive == 4)
        queue = TimerQueue()
        #expect(census.alive == 0)
    }
}
