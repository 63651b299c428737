/// Tests that a job's captured objects are freed after it ran or was dropped. Their deinit may call
/// the pool, so that is never under the pool's lock.
import MillraceEventLoop
import MillraceTestSupport
import Testing

@Suite struct WorkerPoolReleaseTests {
    private final class Door: Sendable {
        private let state = Monitor((waiting: 0, isOpen: false))

        func wait() {
            state.update { $0.waiting += 1 }
            state.wait { $0.isOpen ? () : nil }
        }

        func awaitGuest() { state.wait { $0.waiting > 0 ? () : nil } }
        func open() { state.update { $0.isOpen = true } }
    }

    @Test("the pool releases a job that has run while other jobs still wait")
    func workThatHasRunIsLetGoOfWhileMoreWaits() throws {
        let pool = WorkerPool(threads: 1, queued: 2000)
        let alive = Alive()
        let (first, last) = (Door(), Door())
        // Blocks the thread, so that all jobs are queued before the first runs.
        #expect(pool.submit { first.wait() })
        first.awaitGuest()
        for _ in 0..<1000 {
            let guest = alive.guest()
            #expect(pool.submit { guest.use() })
        }
        #expect(pool.submit { last.wait() } && pool.submit {})
        first.open()
        last.awaitGuest()
        #expect(alive.made == 1000 && alive.count == 0)
        #expect(pool.waiting == 1)
        last.open()
        pool.stop()
    }

    @Test("the pool releases all of a thousand jobs after they have run on several threads")
    func nothingIsAliveAfterAThousandJobsOnSeveralThreads() throws {
        let pool = WorkerPool(threads: 4, queued: 2000)
        let alive = Alive()
        let ran = Monitor(0)
        for _ in 0..<1000 {
            let guest = alive.guest()
            #expect(
                pool.submit {
                    guest.use()
                    ran.update { $0 += 1 }
                })
        }
        ran.wait { $0 == 1000 ? () : nil }
        // The last closures are freed just after they count.
        let isEmpty = try returns { while alive.count > 0 {} }
        #expect(isEmpty, "\(alive.count) of 1,000 are alive")
        pool.stop()
    }

    @Test("the pool releases a refused job outside its lock")
    func refusedWorkIsLetGoOf() throws {
        let alive = Alive()
        let isDone = try returns {
            let pool = WorkerPool(threads: 1, queued: 0)
            let door = Door()
            _ = pool.submit { door.wait() }
            door.awaitGuest()
            for _ in 0..<100 {
                let guest = alive.guest { _ = pool.waiting }
                _ = pool.submit { guest.use() }
            }
            door.open()
            pool.stop()
            let late = alive.guest { _ = pool.refusals }
            _ = pool.submit { late.use() }
        }
        #expect(isDone, "the pool was asked under its lock")
        #expect(alive.made == 101 && alive.count == 0)
    }

    @Test("an object freed after its job has run may call the pool")
    func whatIsLetGoOfAfterItsWorkMayAskThePool() throws {
        let alive = Alive()
        let ran = Monitor(0)
        let isDone = try returns {
            let pool = WorkerPool(threads: 2, queued: 200)
            let door = Door()
            _ = pool.submit { door.wait() }
            for _ in 0..<100 {
                let guest = alive.guest {
                    _ = pool.waiting
                    _ = pool.submit { ran.update { $0 += 1 } }
                }
                _ = pool.submit {
                    guest.use()
                    ran.update { $0 += 1 }
                }
            }
            door.open()
            // All jobs have run, and all jobs that their captured objects submitted.
            ran.wait { $0 == 200 ? () : nil }
            pool.stop()
        }
        #expect(isDone, "the pool was asked under its lock")
        #expect(alive.count == 0)
    }

    @Test("an object freed when stop drops its job may call the pool")
    func whatAStopDropsMayAskThePool() throws {
        let alive = Alive()
        let isDone = try returns {
            let pool = WorkerPool(threads: 1, queued: 200)
            let door = Door()
            _ = pool.submit { door.wait() }
            door.awaitGuest()
            for _ in 0..<100 {
                let guest = alive.guest {
                    _ = pool.waiting
                    _ = pool.submit {}
                }
                _ = pool.submit { guest.use() }
            }
            pool.stop()
            door.open()
        }
        #expect(isDone, "the pool was asked under its lock")
        #expect(alive.made == 100 && alive.count == 0)
    }
}
