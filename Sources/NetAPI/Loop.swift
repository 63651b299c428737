package import MillraceEventLoop

/// One event loop, for use on its own thread.
public struct Loop {
    let core: LoopCore
}

@available(*, unavailable, message: "a Loop stays on its thread: send loop.handle instead")
extension Loop: Sendable {}

extension Loop {
    /// The loop's number; 0 for the first one.
    public var index: Int { core.index }

    /// The Sendable form, for other threads and tasks.
    public var handle: LoopHandle { LoopHandle(remote: core.remote) }

    /// The server to which this loop belongs.
    public var server: Server {
        guard let adapter = core.delegate as? any ServerLoopDelegate else {
            preconditionFailure("a loop without a handler is never shown")
        }
        return adapter.server
    }

    /// Indicates whether the loop knows that its server is stopping. From then on, protocols send
    /// `Connection: close` and the like.
    public var isStopping: Bool { core.isStopping }

    /// The connections that live on this loop and are open at the time of this call.
    public var connections: some Sequence<Connection> {
        var list: [Connection] = []
        core.forEachOpen { list.append(Connection($0)) }
        return list
    }

    /// Runs `body` on this loop after `delay`, never early, with a resolution of one millisecond.
    /// `body` may capture values of this loop that are not Sendable. An error of `body` stops the
    /// server. Returns a timer that can cancel it.
    @discardableResult
    public func schedule(after delay: Duration, _ body: @escaping () throws -> Void)
        -> ScheduledTimer
    {
        ScheduledTimer(core: core.schedule(after: Nanoseconds(delay), body))
    }

    /// Runs `body` on this loop after each `period`, at least a millisecond, until cancelled. Each
    /// due time is counted from the previous one, so that delays do not add up. A loop that was
    /// blocked runs `body` once for all periods that it missed. An error of `body` stops the
    /// server.
    @discardableResult
    public func schedule(every period: Duration, _ body: @escaping () throws -> Void)
        -> ScheduledTimer
    {
        let nanoseconds = max(1_000_000, Nanoseconds(period))
        return ScheduledTimer(core: core.schedule(after: nanoseconds, every: nanoseconds, body))
    }
}

/// A scheduled closure of a loop; for use on that loop only.
public final class ScheduledTimer {
    private let core: LoopTimer?

    init(core: LoopTimer?) { self.core = core }

    /// Cancels the closure: it does not run, or not again. No effect after it has run.
    public func cancel() { core?.cancel() }
}

@available(*, unavailable, message: "a ScheduledTimer stays on its loop")
extension ScheduledTimer: Sendable {}

/// The Sendable form of a loop, for other threads.
public struct LoopHandle: Sendable {
    let remote: LoopRemote

    /// Runs tasks and actors on the loop's thread: `Task(executorPreference:)`, or an actor's
    /// `unownedExecutor`. Keep it as long as they use it. After the loop has ended they go on in
    /// another place, one at a time. Their code must not block.
    public var executor: any TaskExecutor & SerialExecutor { remote }

    package init(remote: LoopRemote) { self.remote = remote }

    /// Runs `body` on the loop, in the order of each caller. Returns false, and `body` does not
    /// run, if the loop has stopped or its mailbox is full.
    @discardableResult
    public func execute(_ body: @escaping @Sendable (Loop) -> Void) -> Bool {
        remote.run { body(Loop(core: $0)) }
    }
}
