internal import MillraceEventLoop

/// The result for which an async call waits. The loop or the cancellation of its task sets it once,
/// whichever comes first.
final class Answer<Value: Sendable>: Sendable {
    private enum State {
        case waiting(CheckedContinuation<Value, any Error>?)
        /// The work has begun, so that a cancellation comes too late.
        case begun(CheckedContinuation<Value, any Error>)
        case cancelled
        case over
    }

    private let state = Monitor(State.waiting(nil))

    /// Runs `body`, which submits the work, and waits for the result.
    func wait(
        onCancel: @escaping @Sendable () -> Void = {}, _ body: () -> Void
    ) async throws -> Value {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let mayBegin = state.withLock { state in
                    guard case .waiting = state else { return false }
                    state = .waiting(continuation)
                    return true
                }
                guard mayBegin else { return continuation.resume(throwing: CancellationError()) }
                body()
            }
        } onCancel: {
            if cancel() { onCancel() }
        }
    }

    private func cancel() -> Bool {
        let (isCancelled, waiting) = state.withLock {
            state -> (Bool, CheckedContinuation<Value, any Error>?) in
            guard case .waiting(let continuation) = state else { return (false, nil) }
            state = .cancelled
            return (true, continuation)
        }
        waiting?.resume(throwing: CancellationError())
        return isCancelled
    }

    var isCancelled: Bool {
        state.withLock { if case .cancelled = $0 { true } else { false } }
    }

    /// Marks the beginning of work that is soon over: from now on only its end counts. Returns
    /// false if the task was cancelled.
    func begin() -> Bool {
        state.withLock { state in
            guard case .waiting(let continuation?) = state else { return false }
            state = .begun(continuation)
            return true
        }
    }

    /// Resumes the waiting task. Returns false if no task waits any more.
    @discardableResult
    func resume(_ result: Result<Value, any Error>) -> Bool {
        let continuation = state.withLock { state -> CheckedContinuation<Value, any Error>? in
            switch state {
            case .waiting(let continuation?), .begun(let continuation):
                state = .over
                return continuation
            case .waiting(nil), .cancelled, .over: return nil
            }
        }
        continuation?.resume(with: result)
        return continuation != nil
    }
}
