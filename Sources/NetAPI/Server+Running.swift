internal import EventLoop
internal import Glibc
internal import Logging

/// Running, stopping, and the signals of a program.
extension Server {
    /// Starts if need be, and returns when the server has stopped. Blocks its thread; not to be
    /// called on a loop.
    ///
    /// A signal that is named here stops the server gracefully, whichever thread it comes to; until
    /// this returns it does nothing else.
    @discardableResult
    public func run(stoppingOn signals: Signal...) throws(NetError) -> StopReason {
        try run(stoppingOn: signals)
    }

    /// The same without blocking a thread of the pool; cancelling the task drains and stops.
    @discardableResult
    public func run(stoppingOn signals: Signal...) async throws(NetError) -> StopReason {
        let result: Result<StopReason, NetError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let thread = Result { () throws(SystemError) in
                    try LoopThread(name: "millrace-run") { [self] in
                        let result = Result { () throws(NetError) in
                            try run(stoppingOn: signals)
                        }
                        continuation.resume(returning: result)
                    }
                }
                if case .failure(let error) = thread {
                    continuation.resume(returning: .failure(NetError(error)))
                }
            }
        } onCancel: {
            requestStop()
        }
        return try result.get()
    }

    private func run(stoppingOn signals: [Signal]) throws(NetError) -> StopReason {
        if group?.isOnLoopThread == true {
            throw NetError(
                .unsupported, "run() waits for the loops, so a loop cannot call it",
                "call it on a thread of your own")
        }
        let watch = try signals.isEmpty ? nil : SignalWatch(signals)
        try start()
        guard let group else { return .stopped }
        if let watch {
            group.whenEnded { watch.end() }
            if let signal = watch.wait() {
                requestStop()
                let cause = group.waitUntilEnded()
                group.join()
                return StopReason(cause, signal)
            }
        }
        let cause = group.waitUntilEnded()
        group.join()
        return StopReason(cause, nil)
    }

    /// Stops gracefully and waits until every loop has ended: listeners close after serving who
    /// waited, connections that are quiet close, the others get up to half of `limit` to go on and
    /// all of it to send what was written; then they are reset. On a loop it only asks, as
    /// `requestStop`. Again is harmless.
    public func stop(within limit: Duration = .seconds(10)) {
        requestStop(within: limit)
        guard let group else { return }
        if group.isOnLoopThread {
            logger.warning("stop() on a loop does not wait; use requestStop(), or return .shutdown")
            return
        }
        _ = group.waitUntilEnded()
        group.join()
    }

    /// The same without blocking a thread of the pool.
    public func stop(within limit: Duration = .seconds(10)) async {
        requestStop(within: limit)
        guard let group else { return }
        await withCheckedContinuation { continuation in
            group.whenEnded { continuation.resume() }
        }
    }

    /// Asks for the same and returns at once; from anywhere, also from a loop.
    public func requestStop(within limit: Duration = .seconds(10)) {
        group?.stop(.requested, within: max(0, Nanoseconds(limit)))
    }

    /// For `main`: serves until SIGINT or SIGTERM, drains, exits 0; on an error prints one line and
    /// exits 1.
    public static func main(
        _ handler: some LoopHandler & Sendable, listen: Address..., options: Options = Options()
    ) -> Never {
        main { () throws(NetError) in try Server(handler, listen: listen, options: options) }
    }

    /// The same with a handler for each loop.
    public static func main<H: LoopHandler>(
        listen: Address..., options: Options = Options(), perLoop make: @escaping @Sendable () -> H
    ) -> Never {
        main { () throws(NetError) in
            try Server(listen, options, handler: H.self) { _ in (make(), true) }
        }
    }

    private static func main(_ makeServer: () throws(NetError) -> Server) -> Never {
        do throws(NetError) {
            let server = try makeServer()
            let reason = try server.run(stoppingOn: .interrupt, .terminate)
            if case .failed(let error) = reason { throw error }
            exit(0)
        } catch {
            let line = "error: \(error)\n"
            _ = line.withCString { write(STDERR_FILENO, $0, strlen($0)) }
            exit(1)
        }
    }
}

/// Why a server stopped. More cases may come: give a switch a `default`.
@nonexhaustive
public enum StopReason: Sendable {
    /// `stop`, `requestStop` or a cancelled task.
    case stopped
    /// A callback returned `.shutdown`.
    case shutdownAction
    case signal(Signal)
    /// A callback of the loop threw, or the kernel refused to serve a loop.
    case failed(NetError)

    init(_ cause: StopCause, _ signal: Signal?) {
        switch cause {
        case .requested: self = signal.map { .signal($0) } ?? .stopped
        case .shutdownAction: self = .shutdownAction
        case .failed(let error):
            if let error = error as? NetError {
                self = .failed(error)
            } else if let error = error as? SystemError {
                self = .failed(NetError(error))
            } else {
                self = .failed(NetError(.system, "the handler threw \(error)"))
            }
        }
    }
}
