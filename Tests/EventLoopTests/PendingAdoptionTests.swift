import Glibc
import MillraceTestSupport
import Testing

@testable import MillraceEventLoop

@Suite struct PendingAdoptionTests {
    @Test("an acceptor waits from 64 pending adoptions until 16 are left")
    func anAcceptorWaitsFromSixtyFourUntilSixteen() {
        let pending = PendingAdoptions()
        for _ in 0..<63 { pending.add() }
        #expect(!pending.mustWait() && !pending.isNone)
        pending.add()
        #expect(pending.mustWait())
        for _ in 0..<47 { #expect(!pending.remove()) }
        #expect(pending.remove(), "16 are left, and an acceptor waits")
        #expect(!pending.remove(), "it was told")
        for _ in 0..<15 { #expect(!pending.remove()) }
        #expect(pending.isNone)
    }

    /// A loop that catches up between the acceptor's two checks does not notify it. Then the
    /// acceptor must not wait.
    @Test("an acceptor does not wait for a loop that has caught up between its two checks")
    func nobodyWaitsForALoopThatHasCaughtUp() throws {
        let pending = PendingAdoptions()
        let told = Monitor(0)
        let rounds = 200_000
        let loop = ThreadTeam(1) { _ in
            var removed = 0
            while removed < rounds {
                guard !pending.isNone else {
                    // On one processor, the acceptor would otherwise run once in a time slice.
                    sched_yield()
                    continue
                }
                if pending.remove() { told.update { $0 += 1 } }
                removed += 1
            }
        }
        var waits = 0
        for _ in 0..<rounds {
            pending.add()
            guard pending.mustWait() else { continue }
            waits += 1
            let expected = waits
            let end = MonotonicClock.now + Nanoseconds(patience)
            let isTold = told.wait(until: end) { $0 >= expected ? true : nil }
            try #require(isTold == true, "wait \(waits) does not end")
        }
        loop.join()
        #expect(told.withLock { $0 } >= waits)
    }
}
