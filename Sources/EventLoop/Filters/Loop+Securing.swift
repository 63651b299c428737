import Glibc

/// Handshakes: from a connected socket to a stream that the handler sees.
///
/// No handler knows of a connection in the state `securing`. The result is `onOpen`, or for a
/// connection that we made the result of its connect. An upgrade's connection stays `open`.
extension Loop {
    /// Makes a connected socket wait for its filter: an accepted one until its peer's first bytes,
    /// since a silent peer must not take another's turn.
    func secure(
        _ connection: ConnectionReference, by provider: any FilterProvider, isOwn: Bool,
        make: @escaping () throws -> any StreamFilter
    ) {
        guard let details = connection.details?.takeUnretainedValue() else { return }
        let deadline = min(now + provider.handshakeTimeout, details.attempt?.deadline ?? .max)
        let state = FilterState(provider, isOwn: isOwn, deadline: deadline, chunks, make: make)
        details.filter = state
        connection.flags.insert(.filtered)
        connection.state = .securing
        connection.lastReceived = now
        armTimer(connection)
        guard isOwn else { return updateReading(connection) }
        _ = beginHandshake(connection, state)
    }

    func secureAccepted(_ connection: ConnectionReference) {
        guard let filters = configuration.acceptingFilters else {
            preconditionFailure("a secured listener without filters")
        }
        secure(connection, by: filters, isOwn: false) { [index] in filters.accepting(on: index) }
    }

    func secureConnected(
        _ connection: ConnectionReference, to peer: FilterPeer, by filters: any ConnectingFilters
    ) {
        secure(connection, by: filters, isOwn: true) { [index] in
            try filters.connecting(to: peer, on: index)
        }
    }

    /// Begins the handshake, now or at its turn. True if the connection has its filter.
    func beginHandshake(_ connection: ConnectionReference, _ state: FilterState) -> Bool {
        guard !state.isQueued else { return false }
        state.isQueued = true
        guard state.provider.takesTurns else {
            start(connection, state)
            return true
        }
        let limit = state.provider.handshakesAtOnce
        state.hasTurn = handshakes(like: state) { $0.take(connection.token, limit: limit) }
        guard state.hasTurn else {
            limitTurns()
            return false
        }
        state.turnBegan = now
        start(connection, state)
        updateReading(connection)
        return state.filter != nil
    }

    /// The time for a turn while others wait. Otherwise peers that stop in their handshakes, as
    /// many as there are turns, could keep all others waiting for the whole time-out.
    private static var shortTurn: Nanoseconds { 1_000_000_000 }
    private static var turnCheck: Nanoseconds { 250_000_000 }

    private func limitTurns() {
        guard !areTurnsLimited else { return }
        areTurnsLimited = true
        timers.schedule(at: now + Self.turnCheck, .turns)
    }

    /// Ends accepted connections' handshakes that have had their turn for long while others wait.
    func endLongTurns() {
        areTurnsLimited = false
        var left = acceptedHandshakes.waitingCount
        guard left > 0 else { return }
        limitTurns()
        for token in table.tokens(where: { $0.flags.contains(.filtered) }) where left > 0 {
            guard let connection = table.find(token), let state = filter(of: connection),
                state.hasTurn, !state.isOwn, !state.isWorking, !state.hasWorked,
                seen(state.turnBegan) + Self.shortTurn <= now,
                // With unread bytes this loop may be late, and not the peer: for one more turn.
                seen(state.turnBegan) + 2 * Self.shortTurn <= now || !hasUnread(connection)
            else { continue }
            left -= 1
            handshakeTimedOut(connection)
        }
    }

    /// Accepted connections and our own have turns apart: neither takes those of the other.
    private func handshakes<R>(like state: FilterState, _ body: (inout Handshakes) -> R) -> R {
        state.isOwn ? body(&ownHandshakes) : body(&acceptedHandshakes)
    }

    @inline(__always)
    func filter(of connection: ConnectionReference) -> FilterState? {
        connection.details?._withUnsafeGuaranteedRef { $0.filter }
    }

    /// Gives turns to those that wait.
    private func giveTurns(_ handshakes: inout Handshakes, atMost limit: Int) {
        while let token = handshakes.next(limit: limit) {
            guard let connection = table.find(token), let state = filter(of: connection),
                isSecuring(connection, state)
            else {
                // Closed while it waited.
                handshakes.ended()
                continue
            }
            state.hasTurn = true
            state.turnBegan = now
            // Not here: the caller may be in the middle of another connection.
            enqueue(connection)
        }
    }

    /// Does the work of a connection in its handshake that `enqueue` was called for.
    func processSecuring(_ connection: ConnectionReference) {
        if connection.flags.contains(.aborting) { return beginClosing(connection) }
        continueHandshake(connection)
        updateReading(connection)
    }

    @inline(never)
    func continueHandshake(_ connection: ConnectionReference) {
        guard let state = filter(of: connection) else { return }
        if state.hasTurn && state.filter == nil {
            start(connection, state)
            if state.filter != nil { openHeld(connection, state) }
        }
        if state.hasWorked {
            state.hasWorked = false
            openHeld(connection, state)
        }
    }

    private func start(_ connection: ConnectionReference, _ state: FilterState) {
        do {
            try state.makeFilter().start(state.output)
            sendSealed(connection)
        } catch {
            filterFailed(connection, state, error)
        }
    }

    /// Handles the end of a handshake of any result, once.
    func handshakeEnded(_ state: FilterState) {
        guard state.hasTurn else { return }
        state.hasTurn = false
        handshakes(like: state) { handshakes in
            handshakes.ended()
            giveTurns(&handshakes, atMost: state.provider.handshakesAtOnce)
        }
    }

    func established(_ connection: ConnectionReference, _ state: FilterState) {
        precondition(!state.isEstablished, "established twice")
        state.isEstablished = true
        handshakeEnded(state)
        counters.handshakes.add()
        connection.lastReceived = now
        connection.details?.takeUnretainedValue().openedAt = now
        if let secured = state.secured { return upgraded(connection, state, secured) }
        if let details = connection.details?.takeUnretainedValue(), let attempt = details.attempt {
            details.attempt = nil
            return opened(connection, by: attempt)
        }
        opened(connection)
        if case .draining = phase { drainDeadline = now }
    }

    /// Handles a failure in the handshake. The filter's last bytes tell the peer, so the connection
    /// closes as others do, without a reset.
    func handshakeFailed(
        _ connection: ConnectionReference, _ state: FilterState, _ error: any Error
    ) {
        guard connection.state == .securing,
            let details = connection.details?.takeUnretainedValue()
        else { return }
        state.isInputOver = true
        state.isOutputOver = true
        handshakeEnded(state)
        countFailure(error, of: connection)
        details.cause = .filter(error)
        connection.state = .finishing
        connection.lastSent = now
        enqueue(connection)
        guard let attempt = details.attempt else { return }
        details.attempt = nil
        runClosure(for: nil) { _ in try? attempt.done(.failure(error)) }
    }

    func countFailure(_ error: any Error, of connection: ConnectionReference) {
        counters.handshakeFailures.add()
        let peer = connection.details?.takeUnretainedValue().remoteAddress
        owner.report(.handshakeFailed("\(error)", peer: peer))
    }

    /// Handles a handshake that took too long. Without a reset a silent peer could keep the socket.
    func handshakeTimedOut(_ connection: ConnectionReference) {
        let error = SystemError(ETIMEDOUT, "connect")
        guard let details = connection.details?.takeUnretainedValue(), let state = details.filter
        else { return }
        counters.timeouts.add()
        countFailure(error, of: connection)
        if details.attempt != nil { return abandonConnect(connection, error) }
        handshakeEnded(state)
        if connection.state == .open { return abort(connection, .timeout) }
        connection.flags.insert(.aborting)
        beginClosing(connection, .timeout)
    }

    /// The filter, if it has one, can take bytes.
    func isFilterReady(_ connection: ConnectionReference) -> Bool {
        guard let state = filter(of: connection) else { return false }
        guard state.filter != nil else { return !state.isQueued }
        return !state.isWorking && !state.hasWorked
    }

    /// Handles an error of the socket. The bytes before it are handled already.
    func receiveFailedInHandshake(_ connection: ConnectionReference, _ error: SystemError) {
        guard let state = filter(of: connection) else { return }
        if isCheck(connection, state) { return beginClosing(connection) }
        handshakeFailed(connection, state, error)
    }

    // MARK: Computations on another thread

    /// Runs a filter's computation on the pool. Without a pool, or if the pool refuses, the loop
    /// runs it.
    func compute(
        _ connection: ConnectionReference, _ state: FilterState,
        _ job: @escaping @Sendable () -> Void
    ) {
        state.isWorking = true
        let (remote, token) = (remote, connection.token)
        let isTaken =
            state.provider.workers?.submit {
                job()
                _ = remote.post(.run { $0.computed(token) }, always: true)
            } ?? false
        guard !isTaken else { return updateReading(connection) }
        job()
        computed(token)
    }

    private func computed(_ token: Token) {
        guard let connection = table.find(token), let state = filter(of: connection) else { return }
        state.isWorking = false
        state.hasWorked = true
        // The peer has had no answer yet.
        state.turnBegan = now
        enqueue(connection)
    }

    /// Continues after a computation, with the bytes that came meanwhile.
    private func openHeld(_ connection: ConnectionReference, _ state: FilterState) {
        let held = state.held
        state.held = []
        held.withUnsafeBytes { openSealed(connection, state, $0) }
        guard connection.flags.contains(.peerEnded) else { return }
        wireEnded(connection, state)
    }
}
