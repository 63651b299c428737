package import MillraceEventLoop

/// The life of a server. `DESIGN.md` lists the effect of each call in each state.
enum ServerState {
    case ready
    /// Binding. Holds the limit of a stop that was requested meanwhile, and the closures to call at
    /// the end.
    case starting(stopWithin: Nanoseconds?, whenEnded: [@Sendable () -> Void])
    /// Bound. The group knows whether it boots, serves, drains or has ended.
    case started(LoopGroup, [Listening])
    /// Stopped before it had started. Then the program still owns the inherited descriptors.
    case ended(hasInherited: Bool)
    case failed

    var isReady: Bool {
        switch self {
        case .ready, .starting: true
        case .started, .ended, .failed: false
        }
    }

    /// The group, if there is one; nil while the server binds.
    var decided: LoopGroup?? {
        switch self {
        case .starting: nil
        case .started(let group, _): .some(group)
        case .ready, .ended, .failed: .some(nil)
        }
    }
}

extension Server {
    /// Binds, boots, and returns once clients can connect. Blocks only for that. Has no effect when
    /// the server runs already. If another thread is starting it, waits for that start, except on a
    /// loop's thread.
    ///
    /// Names in the list of addresses are looked up first, in at most `Options.Names.startTimeout`.
    /// Each is one socket, on the first of the host's addresses that this machine has. A name
    /// without an address is `.unresolved`, and one without an answer `.timedOut`.
    ///
    /// Throws `.addressInUse`, `.permissionDenied` and the like, with the address. Another error
    /// from `onBoot` than a `NetError` becomes `.system` with that error in words. After an error
    /// nothing stays bound, and further calls throw `.unsupported`. Throws `.closed` once a stop
    /// has been requested.
    public func start() throws(NetError) {
        switch begin() {
        case .ours: _ = try startLoops()
        case .another(let group):
            // Called in `onBoot`: the server is about to run.
            if LoopCore.isOnLoopThread { return }
            guard group.waitUntilBooted() else { throw .hasFailed }
            if group.stopCause != nil { throw .hasStopped }
        case .elsewhere: return
        case .stopped:
            discardInherited()
            throw .hasStopped
        case .failed: throw .hasFailed
        }
    }

    /// Closes the inherited descriptors of a server that was stopped before its start, once: a
    /// start that fails closes them too.
    private func discardInherited() {
        let isFirst = state.withLock { state in
            guard case .ended(hasInherited: true) = state else { return false }
            state = .ended(hasInherited: false)
            return true
        }
        guard isFirst else { return }
        for descriptor in Set(listenAddresses.compactMap(\.inherited)) {
            chosen.sockets.discard(Descriptor(descriptor))
        }
    }

    /// Returns the group after its boot, started by this call or by an earlier one; nil if the
    /// server was stopped before there was one.
    func startOrJoin(
        lookedUp: () throws(NetError) -> Void
    ) throws(NetError) -> LoopGroup? {
        switch begin() {
        case .ours:
            do throws(NetError) {
                return try startLoops(lookedUp: lookedUp)
            } catch  where error.isStop {
                return nil
            }
        case .another(let group):
            guard group.waitUntilBooted() else { throw .hasFailed }
            return group
        case .stopped:
            discardInherited()
            return nil
        case .elsewhere: preconditionFailure("a loop cannot run a server")
        case .failed: throw .hasFailed
        }
    }

    private enum Beginning {
        case ours
        case another(LoopGroup)
        /// Another thread binds it, and this is a loop's thread.
        case elsewhere
        case stopped
        case failed
    }

    private func begin() -> Beginning {
        // Another thread's binding ends soon, since a lookup of names has a time limit. But a loop
        // cannot wait: all its connections would.
        let waits = !LoopCore.isOnLoopThread
        return state.wait { state in
            switch state {
            case .ready:
                state = .starting(stopWithin: nil, whenEnded: [])
                return .ours
            case .starting: return waits ? nil : .elsewhere
            case .started(let group, _): return .another(group)
            case .ended: return .stopped
            case .failed: return .failed
            }
        }
    }

    private func startLoops(
        lookedUp: () throws(NetError) -> Void = {}
    ) throws(NetError) -> LoopGroup {
        do throws(NetError) {
            let (group, listeners) = try bind(lookedUp: lookedUp)
            // Published now, so that `onBoot` can read the addresses.
            started(group, listening(listeners))
            if let failure = group.start(listeners) { throw NetError(startFailed: failure) }
            announceState(of: group)
            return group
        } catch {
            failed(error)
            throw error
        }
    }

    private func started(_ group: LoopGroup, _ listening: [Listening]) {
        let before = state.update { state in
            defer { state = .started(group, listening) }
            return state
        }
        guard case .starting(let stop, let whenEnded) = before else { return }
        // Breaks a reference cycle: a program may keep a loop in its handler, the loop keeps the
        // server, and the server keeps the handler.
        group.whenEnded { [self] in
            letGoOfHandler()
            giveUpFurtherLookups()
        }
        for body in whenEnded { group.whenEnded(body) }
        if let stop { group.stop(.requested, within: stop) }
    }

    private func failed(_ error: any Error) {
        let isStop = (error as? NetError)?.isStop == true
        // The old state is released outside the lock: with the group go objects of the program.
        let before = state.update { state in
            let before = state
            // A stop has ended the lookups, so this is no failure.
            if isStop, case .starting(_?, _) = before {
                state = .ended(hasInherited: false)
            } else {
                state = .failed
            }
            return before
        }
        letGoOfHandler()
        // Threads that have looked up names to listen on. No group has them end.
        stopLookups()
        if case .starting(_, let whenEnded) = before { for body in whenEnded { body() } }
    }

    /// Starts like `start`, but with every loop on this thread, where the caller turns them.
    /// Throws the errors of `start`.
    package func startStepped() throws(NetError) -> [SteppedLoop] {
        guard case .ours = begin() else { return [] }
        do {
            let (group, listeners) = try bind()
            started(group, listening(listeners))
            return try group.startStepped(listeners)
        } catch {
            failed(error)
            throw NetError(startFailed: error)
        }
    }
}

extension NetError {
    /// Whether a start was given up for a stop.
    fileprivate var isStop: Bool { code == .closed && cause == Self.hasStopped.cause }

    static let hasStopped = NetError(
        .closed, "the server has stopped, or is about to", "make another one")
    static let hasFailed = NetError(.unsupported, "the server failed to start", "make another one")
}
