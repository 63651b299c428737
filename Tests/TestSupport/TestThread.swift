/// Real threads for tests, not from a pool, whose threads other tests share.
import Glibc

public struct TestThread: Sendable {
    private let thread: pthread_t

    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// Starts a thread, which is joined or detached once.
    public init(_ body: @escaping @Sendable () -> Void) {
        var thread = pthread_t()
        let box = Unmanaged.passRetained(Body(body))
        let result = pthread_create(
            &thread, nil,
            { raw in
                guard let raw else { return nil }
                Unmanaged<Body>.fromOpaque(raw).takeRetainedValue().run()
                return nil
            }, box.toOpaque())
        precondition(result == 0, "pthread_create: \(result)")
        self.thread = thread
    }

    /// Waits for its end.
    public func join() { pthread_join(thread, nil) }

    public func detach() { pthread_detach(thread) }
}

/// Starts a thread that needs no other to end it.
public func startThread(_ body: @escaping @Sendable () -> Void) { TestThread(body).detach() }

/// Starts `count` threads and returns at once; `join` waits for all of them.
public struct ThreadTeam: Sendable {
    private let threads: [TestThread]

    public init(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        threads = (0..<count).map { index in TestThread { body(index) } }
    }

    public func join() {
        for thread in threads { thread.join() }
    }
}
