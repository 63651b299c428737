import Glibc
import MillraceEventLoop
import MillraceTestSupport
import Testing

/// Tests of the threads for blocking work: as many as needed, a bounded queue, and an end.
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

    @Test("a job does not wait for other jobs while the pool has an unused thread")
    func workDoesNotWaitForWorkWhileThreadsAreToBeHad() {
        for _ in 0..<50 {
            let pool = WorkerPool(threads: 4, queued: 100)
            let shared = Shared()
            // The fourth job opens what the others wait for.
            for _ in 0..<3 { #expect(pool.submit { shared.block() }) }
            #expect(pool.submit { shared.state.update { $0.isOpen = true } })
            shared.wait(forStarted: 3)
            shared.state.wait { $0.ended == 3 ? () : nil }
            pool.stop()
        }
    }

    @Test("the pool refuses jobs beyond its queue limit and counts the refusals")
    func theQueueIsBoundedAndRefusalsAreCounted() {
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

    @Test("a pool without a queue limit accepts and runs jobs")
    func aQueueWithoutABoundTakesWork() {
        let pool = WorkerPool(threads: 1, queued: .max)
        let done = Monitor(0)
        for _ in 0..<3 { #expect(pool.submit { done.update { $0 += 1 } }) }
        done.wait { $0 == 3 ? () : nil }
        pool.stop()
    }

    @Test("a pool that runs jobs when asked keeps their order and its limits")
    func workWaitsUntilAsked() {
        let pool = WorkerPool(threads: 2, queued: 1, running: .whenAsked)
        let done = Monitor<[Int]>([])
        for number in 0..<3 { #expect(pool.submit { done.update { $0.append(number) } }) }
        #expect(!pool.submit {})
        #expect(pool.waiting == 3 && pool.refusals == 1 && done.withLock { $0 } == [])
        #expect(pool.runNext() && pool.runNext())
        #expect(done.withLock { $0 } == [0, 1])
        pool.stop()
        #expect(!pool.runNext() && !pool.submit {})
        #expect(done.withLock { $0 } == [0, 1])
    }

    /// A process that blocking work spawns inherits the mask. Loops start the threads and block all
    /// signals.
    @Test("a job blocks the same signals as the thread that created the pool")
    func workBlocksTheSignalsThatItsMakerBlocks() throws {
        let pool = Monitor<WorkerPool?>(nil)
        let maker = try LoopThread(name: "maker") {
            var blocked = sigset_t()
            sigemptyset(&blocked)
            sigaddset(&blocked, SIGUSR2)
            pthread_sigmask(SIG_SETMASK, &blocked, nil)
            pool.update { $0 = WorkerPool(threads: 1, queued: 1) }
        }
        maker.join()
        let blocked = Monitor<[Int32: Bool]?>(nil)
        let loop = try LoopThread(name: "loop") {
            let pool = pool.wait { $0 }
            _ = pool.submit {
                var mask = sigset_t()
                pthread_sigmask(SIG_BLOCK, nil, &mask)
                let signals = [SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGCHLD]
                let found = signals.map { ($0, sigismember(&mask, $0) == 1) }
                blocked.update { $0 = Dictionary(uniqueKeysWithValues: found) }
            }
        }
        loop.join()
        let found = blocked.wait { $0 }
        #expect(found.filter { $0.value }.map(\.key) == [SIGUSR2])
        pool.withLock { $0?.stop() }
    }
}
