import Glibc
/// A waker without a kernel object: a flag with a condition variable, and a count of its wake-ups.
import MillraceEventLoop

// @unchecked: the state is reached only under the pthread mutex.
final class ConditionWaker: Waker, @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var isRaised = false
    private var count = 0

    init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func wake() {
        pthread_mutex_lock(mutex)
        isRaised = true
        count += 1
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
    }

    /// The number of calls of `wake`.
    var wakes: Int {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return count
    }

    /// Returns at once if a wake-up came since the last sleep; false if none comes in time.
    func sleep(secondsMax: Int = 30) -> Bool {
        var end = timespec()
        clock_gettime(CLOCK_REALTIME, &end)
        end.tv_sec += secondsMax
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while !isRaised {
            guard pthread_cond_timedwait(condition, mutex, &end) != ETIMEDOUT else { break }
        }
        defer { isRaised = false }
        return isRaised
    }
}
