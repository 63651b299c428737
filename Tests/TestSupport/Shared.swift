/// A value behind a lock, for results of callbacks.
import Glibc

// A pthread mutex, because the thread sanitizer does not know Swift's `Mutex` and would report
// every use. @unchecked: the value is reached only under it.
public final class Shared<Value: Sendable>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private var stored: Value

    public init(_ value: Value) {
        stored = value
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    public var value: Value {
        get { update { $0 } }
        set { update { $0 = newValue } }
    }

    @discardableResult
    public func update<Output>(_ body: (inout Value) -> Output) -> Output {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body(&stored)
    }
}
