import EventLoop
import Glibc
import Testing

/// Threads for blocking work: as many as are needed, a bounded queue, and an end.
@Suite struct WorkerPoolTests {
    private final class Shared: Sendable {
        let state = Monitor((started: 0, ended: 0, isOpen: false))

        func block() {
            state.update { $0.started += 1 }
            state.wait { $0.isOpen ? () : nil }
            state.update { $0.ended += 1 }
        }

        func wait(forStarted count: Int) {
            state.wait { $0.started >= count ? () : nil }
        }
    }

    @Test func workDoesNotWaitForWorkWhileThreadsAreToBeHad() {
        for _ in 0..<50 {
            let pool = WorkerPool(threads: 4, queued: 100)
            let shared = Shared()
            // The fourth opens what the others wait for.
            for _ in 0..<3 { #expect(pool.submit { shared.block() }) }
            #expect(pool.submit { shared.state.update { $0.isOpen = true } })
            shared.wait(forStarted: 3)
            shared.state.wait { $0.ended == 3 ? () : nil }
            pool.stop()
        }
    }

    @Test func theQueueIsBoundedAndRefusalsAreCounted() {
        let pool = WorkerPool(threads: 1, queued: 2)
        let shared = Shared()
        #expect(pool.submit { shared.block() })
        shared.wait(forStarted: 1)
        #expect(pool.submit {} && pool.submit {})
        #expect(!pool.submit {})
        #expect(pool.refusals == 1 && pool.waiting == 2)
        shared.state.update { $0.isOpen = true }
        pool.stop()
        #expect(!pool.submit {})
    }
}
