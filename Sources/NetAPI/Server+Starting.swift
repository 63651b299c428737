package import EventLoop

/// The life of a server; `DESIGN.md` has what each call does in each state.
enum ServerState {
    case ready
    /// Binding. With the limit of a stop that was asked for meanwhile, and with who is to be told
    /// of the end.
    case starting(stopWithin: Nanoseconds?, whenEnded: [@Sendable () -> Void])
    /// Bound. Whether it boots, serves, drains or has ended is known to the group.
    case started(LoopGroup, [Address])
    /// Stopped before it had started.
    case ended
    case failed

    var isReady: Bool {
        switch self {
        case .ready, .starting: true
        case .started, .ended, .failed: false
        }
    }

    /// Nil while it binds; then the group, if there is one.
    var decided: LoopGroup?? {
        switch self {
        case .starting: nil
        case .started(let group, _): .some(group)
        case .ready, .ended, .failed: .some(nil)
        }
    }
}

extension Server {
    /// Binds, boots, and returns once clients can connect. Blocks only for that. Harmless when it
    /// runs already, or is starting on another thread, which it then waits for.
    ///
    /// Throws `.addressInUse`, `.permissionDenied` and the like, with the address; what `onBoot`
    /// throws comes as `.system` with that error in words. On an error nothing stays bound. Throws
    /// `.closed` once it has been asked to stop.
    public func start() throws(NetError) {
        switch begin() {
        case .ours: _ = try startLoops()
        case .another(let group):
            // In `onBoot` it is about to run.
            if EventLoop.Loop.isOnLoopThread { return }
            guard group.waitUntilBooted() else { throw .hasFailed }
            if group.stopCause != nil { throw .hasStopped }
        case .stopped: throw .hasStopped
        case .failed: throw .hasFailed
        }
    }

    /// The group, which has booted, started by this call or by an earlier one; nil if the server
    /// was stopped before there was one.
    func startOrJoin() throws(NetError) -> LoopGroup? {
        switch begin() {
        case .ours: return try startLoops()
        case .another(let group):
            guard group.waitUntilBooted() else { throw .hasFailed }
            return group
        case .stopped: return nil
        case .failed: throw .hasFailed
        }
    }

    private enum Beginning {
        case ours
        case another(LoopGroup)
        case stopped
        case failed
    }

    private func begin() -> Beginning {
        // Another thread's binding is soon over, and runs no code of the program.
        state.wait { state in
            switch state {
            case .ready:
                state = .starting(stopWithin: nil, whenEnded: [])
                return .ours
            case .starting: return nil
            case .started(let group, _): return .another(group)
            case .ended: return .stopped
            case .failed: return .failed
            }
        }
    }

    private func startLoops() throws(NetError) -> LoopGroup {
        do throws(NetError) {
            let (group, listeners) = try bind()
            // Known from here on, so that `onBoot` can tell.
            started(group, realAddresses(listeners))
            if let failure = group.start(listeners) { throw NetError(startFailed: failure) }
            return group
        } catch {
            failed()
            throw error
        }
    }

    private func started(_ group: LoopGroup, _ addresses: [Address]) {
        let before = state.update { state in
            defer { state = .started(group, addresses) }
            return state
        }
        guard case .starting(let stop, let whenEnded) = before else { return }
        // From a program that keeps a loop to its server, and from that to the handler which the
        // program has kept the loop in, it must not go round for ever.
        group.whenEnded { [self] in letGoOfHandler() }
        for body in whenEnded { group.whenEnded(body) }
        if let stop { group.stop(.requested, within: stop) }
    }

    private func failed() {
        // Out of the lock before the group goes: with it goes what the program has handed in.
        let before = state.update { state in
            defer { state = .failed }
            return state
        }
        letGoOfHandler()
        if case .starting(_, let whenEnded) = before { for body in whenEnded { body() } }
    }

    /// As `start`, but with every loop on this thread, to be turned by the caller.
    package func startStepped() throws -> [SteppedLoop] {
        guard case .ours = begin() else { return [] }
        let (group, listeners) = try bind()
        started(group, realAddresses(listeners))
        return try group.startStepped(listeners)
    }
}

extension NetError {
    static let hasStopped = NetError(
        .closed, "the server has stopped, or is about to", "make another one")
    static let hasFailed = NetError(.unsupported, "the server failed to start", "make another one")
}
