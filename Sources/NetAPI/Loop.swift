internal import EventLoop

/// One event loop, seen from its own thread.
public struct Loop {
    let core: EventLoop.Loop
}

@available(*, unavailable, message: "a Loop stays on its thread: send loop.handle instead")
extension Loop: Sendable {}

extension Loop {
    /// 0 for the first one.
    public var index: Int { core.index }

    /// The Sendable form, for other threads and tasks.
    public var handle: LoopHandle { LoopHandle(port: core.port) }

    /// The server that this loop belongs to.
    public var server: Server {
        guard let adapter = core.delegate as? any ServerLoopDelegate else {
            preconditionFailure("a loop without a handler is never shown")
        }
        return adapter.server
    }

    /// True from the moment in which the loop has heard that its server is to stop: the time to say
    /// `Connection: close` and the like.
    public var isStopping: Bool { core.isStopping }

    /// The connections that live on this loop and are open, as of this call.
    public var connections: some Sequence<Connection> {
        var list: [Connection] = []
        core.forEachOpen { list.append(Connection($0)) }
        return list
    }

    /// Runs `body` here after `delay`, in milliseconds at the finest and never early. It may
    /// capture anything of this loop. An error that it throws stops the server.
    @discardableResult
    public func schedule(after delay: Duration, _ body: @escaping () throws -> Void) -> Timer {
        Timer(core: core.schedule(after: Nanoseconds(delay), body))
    }

    /// Runs `body` here after each `period`, of a millisecond at least, until cancelled. Each is
    /// counted from when the last one was due, so that lateness does not add up; a loop that was
    /// held up runs it once for all that it has missed.
    @discardableResult
    public func schedule(every period: Duration, _ body: @escaping () throws -> Void) -> Timer {
        let nanoseconds = max(1_000_000, Nanoseconds(period))
        return Timer(core: core.schedule(after: nanoseconds, every: nanoseconds, body))
    }
}

/// Something scheduled on a loop; to be used on that loop only.
public final class Timer {
    private let core: LoopTimer?

    init(core: LoopTimer?) { self.core = core }

    /// It will not run, or not run again. Harmless after it has.
    public func cancel() { core?.cancel() }
}

@available(*, unavailable, message: "a Timer stays on its loop")
extension Timer: Sendable {}

/// A loop, for other threads.
public struct LoopHandle: Sendable {
    let port: LoopPort

    /// Runs `body` on the loop, in the order of each caller; false once the loop has stopped, or if
    /// its mailbox is full.
    @discardableResult
    public func execute(_ body: @escaping @Sendable (Loop) -> Void) -> Bool {
        port.run { body(Loop(core: $0)) }
    }
}
