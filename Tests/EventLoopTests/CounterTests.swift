/// Tests of counters that one thread changes while others read.
import Glibc
import MillraceTestSupport
import Testing

@testable import MillraceEventLoop

@Suite struct CounterTests {
    @Test("a counter adds positive and negative amounts")
    func adds() {
        let counter = Counter()
        let atFirst = counter.current
        counter.add()
        counter.add(41)
        let then = counter.current
        counter.add(-2)
        let last = counter.current
        #expect(atFirst == 0 && then == 42 && last == 40)
    }

    @Test("a counter wraps on overflow and does not trap")
    func comesRoundInsteadOfTrapping() {
        let counter = Counter()
        counter.add(.max)
        counter.add()
        let current = counter.current
        #expect(current == .min)
    }

    @Test("readers on other threads never read a counter that decreases")
    func readersSeeItGrow() throws {
        let counters = LoopCounters()
        let total = 1_000_000
        let wentBack = Monitor(0)
        let readers = ThreadTeam(3) { _ in
            var last = 0
            while last < total {
                let now = counters.bytesIn.current
                if now < last { wentBack.update { $0 += 1 } }
                last = max(now, last)
                sched_yield()
            }
        }
        for _ in 0..<total { counters.bytesIn.add() }
        readers.join()
        #expect(wentBack.update { $0 } == 0)
        #expect(counters.bytesIn.current == total)
        #expect(counters.bytesOut.current == 0)
    }

    @Test("a shared counter loses no amount that several threads add")
    func sharedCounterLosesNothing() throws {
        let counters = LoopCounters()
        ThreadTeam(4) { _ in
            for _ in 0..<300_000 { counters.datagramRefusals.add() }
        }.join()
        #expect(counters.datagramRefusals.current == 1_200_000)
    }

    @Test("the open count is the number opened minus the number closed")
    func openIsWhatWasOpenedAndNotClosed() {
        let counters = LoopCounters()
        counters.opened.add(5)
        counters.closed.add(2)
        #expect(counters.open == 3)
    }
}
