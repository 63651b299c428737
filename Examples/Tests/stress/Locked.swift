// State that threads share: a value behind a lock that the thread sanitizer sees, and a thread that
// can be joined.
import Glibc
import Synchronization

// @unchecked: the state is accessed only under the pthread mutex.
final class Locked<State>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private var state: State

    init(_ state: sending State) {
        self.state = state
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    func withLock<R>(_ body: (inout State) throws -> R) rethrows -> R {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&state)
    }
}

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

/// A thread of this program.
struct Thread: Sendable {
    private let thread: pthread_t

    private final class Start {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    init(_ body: @escaping @Sendable () -> Void) {
        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(body))
        let result = pthread_create(
            &thread, nil,
            { pointer in
                guard let pointer else { return nil }
                name(thisThread: "stress-own")
                Unmanaged<Start>.fromOpaque(pointer).takeRetainedValue().body()
                return nil
            }, start.toOpaque())
        precondition(result == 0, "no thread can be had")
        self.thread = thread
    }

    func join() { pthread_join(thread, nil) }
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
