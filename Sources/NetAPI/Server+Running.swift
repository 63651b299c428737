internal import Glibc
internal import Logging
package import MillraceEventLoop

/// Running and stopping a server, and the signals of a program.
extension Server {
    /// Starts the server if necessary, and returns when it has stopped. Blocks its thread, and
    /// throws `.unsupported` on a loop's thread. Throws the errors of `start()` too.
    ///
    /// The first of these signals stops the server gracefully, whichever thread receives it. The
    /// next one stops it at once, with a reset of the remaining connections. Until this returns the
    /// signals have no other effect. A server that was stopped before it had started returns at
    /// once.
    @discardableResult
    public func run(stoppingOn signals: Signal...) throws(NetError) -> StopReason {
        try run(stoppingOn: signals)
    }

    /// Runs the server like the blocking `run`, but suspends the task and blocks no thread of the
    /// pool. Cancelling the task drains and stops, even if it was cancelled before this call.
    ///
    /// Call it in an `async` function. In the top-level code of `main.swift`, Swift picks the
    /// blocking form even behind `await`; so it does for `stop`.
    @discardableResult
    public func run(stoppingOn signals: Signal...) async throws(NetError) -> StopReason {
        try await run(stoppingOn: signals, drainingWithin: .seconds(10))
    }

    /// Runs the server like the public method, with the limit for the drain of a cancelled task.
    package func run(
        stoppingOn signals: [Signal] = [], drainingWithin limit: Duration
    ) async throws(NetError) -> StopReason {
        let result: Result<StopReason, NetError> = await withTaskCancellationHandler {
            await onOwnThread("millrace-run") { [self] () throws(NetError) in
                try run(stoppingOn: signals)
            }
        } onCancel: {
            requestStop(within: limit)
        }
        return try result.get()
    }

    private func run(
        stoppingOn signals: [Signal], isAnnounced: Bool = false
    ) throws(NetError) -> StopReason {
        if LoopCore.isOnLoopThread {
            throw NetError(
                .unsupported, "run() waits for the loops, so a loop cannot call it",
                "call it on a thread of your own")
        }
        var watch: SignalWatch?
        func watchSignals() throws(NetError) {
            if watch == nil && !signals.isEmpty { watch = try SignalWatch(signals) }
        }
        // A signal ends a program that still waits for its names to be looked up.
        if !listenAddresses.contains(where: \.needsLookup) { try watchSignals() }
        guard let group = try startOrJoin(lookedUp: watchSignals) else { return .stopped }
        try watchSignals()
        if isAnnounced && group.stopCause == nil && !boundAddresses.isEmpty {
            let addresses = boundAddresses.map(\.description).joined(separator: ", ")
            let loops = loopCount == 1 ? "1 loop" : "\(loopCount) loops"
            logger.info("serving \(addresses) on \(backend.chosen) with \(loops)")
        }
        var signal: Signal?
        if let watch {
            group.whenEnded { watch.end() }
            signal = watch.wait()
            if signal != nil {
                requestStop()
                if watch.wait() != nil { requestStop(within: .zero) }
            }
        }
        let cause = group.waitUntilEnded()
        group.join()
        return StopReason(cause, signal)
    }

    /// Stops gracefully and waits until every loop has ended. Listeners close after serving the
    /// clients in their backlogs. Quiet connections close. The others get up to half of `limit` to
    /// go on, and all of it to send written bytes; then they are reset.
    ///
    /// On a thread of a loop, of this server or another, it does not wait, like `requestStop`. A
    /// second call is harmless, and a shorter limit counts. A server that has not started yet never
    /// will.
    public func stop(within limit: Duration = .seconds(10)) {
        requestStop(within: limit)
        if LoopCore.isOnLoopThread {
            logger.warning("stop() on a loop does not wait; use requestStop(), or return .shutdown")
            return
        }
        guard let group = state.wait(for: { $0.decided }) else { return }
        _ = group.waitUntilEnded()
        group.join()
    }

    /// Stops like the blocking `stop(within:)`, but suspends the task and blocks no thread of the
    /// pool.
    public func stop(within limit: Duration = .seconds(10)) async {
        requestStop(within: limit)
        await withCheckedContinuation { continuation in
            whenEnded { continuation.resume() }
        }
        // The loops have reported that they are about to end.
        if !LoopCore.isOnLoopThread { group?.join() }
    }

    /// Requests the stop that `stop(within:)` describes, and returns at once. Callable from any
    /// thread, also from a loop. A request while the server starts is kept.
    public func requestStop(within limit: Duration = .seconds(10)) {
        let limit = max(0, Nanoseconds(limit))
        var neverStarts = false
        let group = state.update { state -> LoopGroup? in
            switch state {
            case .ready:
                state = .ended(hasInherited: true)
                neverStarts = true
            case .starting(let known, let whenEnded):
                state = .starting(stopWithin: min(known ?? limit, limit), whenEnded: whenEnded)
            case .started(let group, _): return group
            case .ended, .failed: break
            }
            return nil
        }
        listenLookups.giveUp()
        group?.stop(.requested, within: limit)
        giveUpFurtherLookups()
        if neverStarts { letGoOfHandler() }
    }

    /// Runs `body` when the server has ended; at once if it has, or never ran.
    private func whenEnded(_ body: @escaping @Sendable () -> Void) {
        let group = state.update { state -> LoopGroup?? in
            switch state {
            case .starting(let stop, let others):
                state = .starting(stopWithin: stop, whenEnded: others + [body])
                return .some(nil)
            case .started(let group, _): return group
            case .ready, .ended, .failed: return nil
            }
        }
        guard let group else { return body() }
        group?.whenEnded(body)
    }

    /// Runs a server as a whole program: serves until SIGINT or SIGTERM, drains, exits 0. A second
    /// signal ends the draining. Logs one line with the addresses when clients can connect. On an
    /// error prints one line to standard error and exits 1.
    public static func main(
        _ handler: some LoopHandler & Sendable, listen: Address..., options: Options = Options()
    ) -> Never {
        main(handler, listen: listen, options: options)
    }

    /// Runs a program like `main(_:listen:options:)`, for a list made at run time.
    public static func main(
        _ handler: some LoopHandler & Sendable, listen: [Address], options: Options = Options()
    ) -> Never {
        main { () throws(NetError) in try Server(handler, listen: listen, options: options) }
    }

    /// Runs a program like `main(_:listen:options:)`, but with one handler per loop.
    public static func main<H: LoopHandler>(
        listen: Address..., options: Options = Options(), perLoop make: @escaping @Sendable () -> H
    ) -> Never {
        main(listen: listen, options: options, perLoop: make)
    }

    /// Runs a program like `main(listen:options:perLoop:)`, for a list made at run time.
    public static func main<H: LoopHandler>(
        listen: [Address], options: Options = Options(), perLoop make: @escaping @Sendable () -> H
    ) -> Never {
        main { () throws(NetError) in
            try Server(listen: listen, options: options, perLoop: make)
        }
    }

    /// Runs a program like `main(_:listen:options:)`, but with a task for each connection.
    public static func main(
        listen: Address..., options: Options = Options(),
        serve: @escaping @Sendable (_ connection: AsyncConnection) async throws -> Void
    ) -> Never {
        main(listen: listen, options: options, serve: serve)
    }

    /// Runs a program like `main(listen:options:serve:)`, for a list made at run time.
    public static func main(
        listen: [Address], options: Options = Options(),
        serve: @escaping @Sendable (_ connection: AsyncConnection) async throws -> Void
    ) -> Never {
        main { () throws(NetError) in
            try Server(listen: listen, options: options, serve: serve)
        }
    }

    private static func main(_ makeServer: () throws(NetError) -> Server) -> Never {
        do throws(NetError) {
            let server = try makeServer()
            let reason = try server.run(
                stoppingOn: [.interrupt, .terminate], isAnnounced: true)
            if case .failed(let error) = reason { throw error }
            exit(0)
        } catch {
            let line = "error: \(error)\n"
            _ = line.withCString { write(STDERR_FILENO, $0, strlen($0)) }
            exit(1)
        }
    }
}

/// The reason for which a server stopped. More cases may come: give a switch a `default`.
@nonexhaustive
public enum StopReason: Sendable {
    /// The program called `stop` or `requestStop`, or the task was cancelled.
    case stopped
    /// A callback returned `.shutdown`.
    case shutdownAction
    /// This signal came.
    case signal(Signal)
    /// A callback of the loop threw, or the kernel refused to serve a loop.
    case failed(NetError)

    package init(_ cause: StopCause, _ signal: Signal? = nil) {
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

/// Runs a closure that blocks on a thread of its own, and suspends the task until it has returned.
func onOwnThread<Value: Sendable>(
    _ name: String, _ body: @escaping @Sendable () throws(NetError) -> Value
) async -> Result<Value, NetError> {
    await withCheckedContinuation { continuation in
        let thread = Result { () throws(SystemError) in
            try LoopThread(name: name) {
                continuation.resume(returning: Result { () throws(NetError) in try body() })
            }.detach()
        }
        if case .failure(let error) = thread {
            continuation.resume(returning: .failure(NetError(error)))
        }
    }
}
