internal import MillraceEventLoop

/// Limits of time for a task's waits.
extension AsyncConnection {
    /// Runs `body`, and interrupts its waits for input and for room of this connection after
    /// `limit`, with an error `.timedOut`. Waits for other things, and of `send`, are not
    /// interrupted. Limits may be nested. A limit also applies to the child tasks of `body`, and to
    /// no other task of the connection.
    public nonisolated(nonsending) func withTimeout<R>(
        _ limit: Duration, _ body: () async throws -> R
    ) async throws -> R {
        guard reason == nil else { return try await body() }
        let own = TimeLimit(of: self, within: TimeLimit.current.get())
        let timer = connection.schedule(after: limit) { [weak self] _ in
            // The first call may run the task to its end, which releases this object.
            guard let self else { return }
            own.isOver = true
            overdueLimits += 1
            interruptWaits()
        }
        defer {
            // Cancelled with the connection, whose loop may be gone.
            if reason == nil { timer.cancel() }
            if own.isOver { overdueLimits -= 1 }
            // A task that `body` has left behind is not bound by it any more.
            own.isOver = false
        }
        return try await TimeLimit.current.withValue(own) { try await body() }
    }

    /// Whether a limit around the present place of the running task is over. Other tasks' limits
    /// cost a look at a number, as long as all are kept.
    var isOutOfTime: Bool { overdueLimits > 0 && TimeLimit.isOver(of: self) }
}

/// A limit of time around a part of a task. Each task has its own, so that several may use one
/// connection.
// Unchecked: used by the connection's tasks only, one at a time. Others just inherit it.
private final class TimeLimit: @unchecked Sendable {
    /// The innermost limit of the running task.
    static let current = TaskLocal<TimeLimit?>(wrappedValue: nil)

    private let connection: ObjectIdentifier
    private let outer: TimeLimit?
    var isOver = false

    init(of connection: AsyncConnection, within outer: TimeLimit?) {
        self.connection = ObjectIdentifier(connection)
        self.outer = outer
    }

    @inline(never)
    static func isOver(of connection: AsyncConnection) -> Bool {
        var next = current.get()
        while let limit = next {
            // In this order: the limits of other connections belong to other threads.
            if limit.connection == ObjectIdentifier(connection) && limit.isOver { return true }
            next = limit.outer
        }
        return false
    }
}
