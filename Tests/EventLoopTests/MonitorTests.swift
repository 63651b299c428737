/// Tests of state that threads wait for.
import MillraceTestSupport
import Testing

@testable import MillraceEventLoop

@Suite struct MonitorTests {
    private struct Refusal: Error {}

    @Test("update returns the result of its body")
    func updateGivesWhatItsBodyGives() throws {
        let monitor = Monitor([1])
        let count = monitor.update { state in
            state.append(2)
            return state.count
        }
        #expect(count == 2)
        #expect(monitor.wait { $0.isEmpty ? nil : $0 } == [1, 2])
    }

    @Test("wait returns immediately when its condition is already met")
    func waitGivesWhatIsThereAlready() {
        let monitor = Monitor(5)
        #expect(monitor.wait { $0 == 5 ? "five" : nil } == "five")
    }

    @Test("an update whose body throws keeps the change and releases the lock")
    func aBodyMayThrow() {
        let monitor = Monitor(0)
        #expect(throws: Refusal.self) {
            try monitor.update { state in
                state = 1
                throw Refusal()
            }
        }
        // The change is kept and the lock is released.
        #expect(monitor.update { $0 } == 1)
    }

    @Test("an update wakes every waiting thread")
    func anUpdateWakesEveryWaiter() throws {
        let monitor = Monitor((isOpen: false, ready: 0, passed: 0))
        let team = ThreadTeam(8) { _ in
            monitor.update { $0.ready += 1 }
            monitor.wait { $0.isOpen ? () : nil }
            monitor.update { $0.passed += 1 }
        }
        monitor.wait { $0.ready == 8 ? () : nil }
        #expect(monitor.update { $0.passed } == 0)
        monitor.update { $0.isOpen = true }
        monitor.wait { $0.passed == 8 ? () : nil }
        team.join()
    }

    @Test("an update whose body throws wakes waiting threads too")
    func aThrowingUpdateWakesWaitersToo() throws {
        let monitor = Monitor(0)
        let team = ThreadTeam(1) { _ in monitor.wait { $0 == 1 ? () : nil } }
        try? monitor.update { state in
            state = 1
            throw Refusal()
        }
        team.join()
    }

    @Test("the monitor loses no update of several threads")
    func losesNoUpdate() throws {
        let monitor = Monitor(0)
        let team = ThreadTeam(4) { _ in
            for _ in 0..<20_000 { monitor.update { $0 += 1 } }
        }
        #expect(monitor.wait { $0 == 80_000 ? $0 : nil } == 80_000)
        team.join()
    }

    @Test("two threads can alternate through one monitor")
    func twoThreadsTakeTurns() throws {
        let monitor = Monitor(0)
        let team = ThreadTeam(2) { index in
            for turn in 0..<2000 where turn % 2 == index {
                monitor.wait { $0 == turn ? () : nil }
                monitor.update { $0 += 1 }
            }
        }
        team.join()
        #expect(monitor.update { $0 } == 2000)
    }
}
