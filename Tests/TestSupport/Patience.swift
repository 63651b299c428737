/// The time limit of every wait in the tests: a test fails with a message and never hangs.
import Glibc

/// The one timeout of this suite; `MILLRACE_TEST_PATIENCE` sets it, in seconds.
public let patience: Duration = .seconds(
    getenv("MILLRACE_TEST_PATIENCE").flatMap { Int(String(cString: $0)) } ?? 30)

/// An event that did not happen in time.
public struct Overdue: Error, CustomStringConvertible {
    public let what: String
    public let limit: Duration

    public init(what: String, limit: Duration) {
        self.what = what
        self.limit = limit
    }

    public var description: String { "\(what): not within \(limit)" }
}

/// The moment by which an event must have happened.
public struct Deadline: Sendable {
    public let limit: Duration
    private let end: ContinuousClock.Instant

    public init(_ limit: Duration = patience) {
        self.limit = limit
        end = .now + limit
    }

    public var isPast: Bool { ContinuousClock.now >= end }

    /// The time left for poll(2): rounded up, 0 after the deadline.
    public var milliseconds: CInt {
        let left = ContinuousClock.now.duration(to: end)
        return left <= .zero ? 0 : CInt(clamping: Int(left / .milliseconds(1)) + 1)
    }

    public func check(_ what: @autoclosure () -> String) throws {
        if isPast { throw Overdue(what: what(), limit: limit) }
    }
}

/// Checks `condition` every 2 ms until it holds.
public func eventually(
    _ what: String, within limit: Duration = patience, _ condition: () throws -> Bool
) throws {
    let deadline = Deadline(limit)
    while try !condition() {
        try deadline.check(what)
        usleep(2000)
    }
}

/// Runs `body` on its own thread; `join` waits a bounded time for the result.
public final class Worker<Output: Sendable>: Sendable {
    private let outcome = Shared<Result<Output, any Error>?>(nil)

    public init(_ body: @escaping @Sendable () throws -> Output) {
        startThread { [self] in
            let result = Result { try body() }
            outcome.value = result
        }
    }

    public var isDone: Bool { outcome.update { $0 != nil } }

    public func join(_ what: String, within limit: Duration = patience) throws -> Output {
        let deadline = Deadline(limit)
        while !isDone {
            try deadline.check(what)
            usleep(500)
        }
        return try outcome.value!.get()
    }
}

/// Runs a call that may block. If it never returns, its thread stays behind and the test fails.
public func bounded<Output: Sendable>(
    _ what: String, _ body: @escaping @Sendable () throws -> Output
) throws -> Output {
    try Worker(body).join(what)
}

/// Like `bounded`, but for a call that may suspend.
public func patiently<Output: Sendable>(
    _ what: String, _ body: @escaping @Sendable () async throws -> Output
) async throws -> Output {
    let outcome = Shared<Result<Output, any Error>?>(nil)
    Task {
        do {
            let output = try await body()
            outcome.value = .success(output)
        } catch {
            outcome.value = .failure(error)
        }
    }
    let deadline = Deadline()
    while true {
        if let result = outcome.value { return try result.get() }
        try deadline.check(what)
        try await Task.sleep(for: .milliseconds(1))
    }
}

public func pause(_ time: Duration) { usleep(UInt32(time / .microseconds(1))) }

/// Returns the time that `body` took.
public func elapsed(_ body: () throws -> Void) rethrows -> Duration {
    try ContinuousClock().measure(body)
}
