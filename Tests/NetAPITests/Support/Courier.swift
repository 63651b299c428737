/// A thread that writes to connections for their loops, in the order of the requests.
import Glibc
import MillraceTestSupport
import NetAPI

/// Runs closures on its own thread until it is freed.
final class Courier: Sendable {
    private let queue = Shared<[@Sendable () -> Void]>([])
    private let isOver = Shared(false)
    private let bell: Bell

    /// Wakes the thread; a semaphore, since sanitizers understand its memory ordering.
    // @unchecked: the pointer never changes, and sem_t is made for several threads.
    private final class Bell: @unchecked Sendable {
        private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

        init() { sem_init(semaphore, 0, 0) }

        deinit {
            sem_destroy(semaphore)
            semaphore.deallocate()
        }

        func ring() { sem_post(semaphore) }

        func wait() { while sem_wait(semaphore) != 0 && errno == EINTR {} }
    }

    init() {
        let bell = Bell()
        self.bell = bell
        startThread { [queue, isOver] in
            while !isOver.value {
                bell.wait()
                let jobs = queue.update { jobs in
                    defer { jobs = [] }
                    return jobs
                }
                for job in jobs { job() }
            }
        }
    }

    deinit {
        isOver.value = true
        bell.ring()
    }

    func run(_ job: @escaping @Sendable () -> Void) {
        queue.update { $0.append(job) }
        bell.ring()
    }
}
