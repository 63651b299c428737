// The threads of this program, and numbers that they share.
import Glibc
import Synchronization
import TestSupport

/// A number that every thread may increase.
final class Counter: Sendable {
    private let value = Atomic(0)

    var current: Int { value.load(ordering: .sequentiallyConsistent) }

    /// Adds `amount` and returns the value before.
    @discardableResult
    func add(_ amount: Int = 1) -> Int {
        value.add(amount, ordering: .sequentiallyConsistent).oldValue
    }

    func raise(to amount: Int) { value.max(amount, ordering: .sequentiallyConsistent) }

    /// Replaces `old` by `new`. Returns true for the one caller that found `old`.
    func exchange(_ old: Int, for new: Int) -> Bool {
        value.compareExchange(
            expected: old, desired: new, ordering: .sequentiallyConsistent
        ).exchanged
    }
}

/// A value that changes once, from false to true.
final class Latch: Sendable {
    private let value = Counter()

    var isSet: Bool { value.current != 0 }
    /// Sets the value. Returns true for the caller that changed it.
    @discardableResult
    func set() -> Bool { value.exchange(0, for: 1) }
}

/// Starts a thread of this program. A new thread has the name of the one that starts it, which may
/// be the library's.
func ownThread(_ body: @escaping @Sendable () -> Void) -> TestThread {
    TestThread {
        name(thisThread: "stress-own")
        body()
    }
}

private func name(thisThread name: String) {
    let descriptor = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    _ = write(descriptor, name, name.utf8.count)
    close(descriptor)
}

func sleep(milliseconds: Int) { usleep(UInt32(milliseconds * 1000)) }

func now() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}
