import Glibc

/// The end of a loop: quiet connections close, busy ones can finish, and at the deadline all are
/// aborted.

enum LoopPhase: Equatable {
    case running
    /// This loop accepts no more.
    case acceptedLast
    /// With the start, and the deadline at which all connections are aborted.
    case draining(since: Nanoseconds, deadline: Nanoseconds)
    /// No connection is left; waits for the other loops.
    case drained
    case ended
}

extension Loop {
    /// A peer that was silent for this long is not in the middle of a request.
    static var quietTime: Nanoseconds { 20_000_000 }
    /// A peer that has just connected, and has received no bytes yet, may be about to send. Its
    /// first bytes need an additional round trip.
    private static var firstByteTime: Nanoseconds { 100_000_000 }

    /// Starts the drain. A second request may shorten the time, not lengthen it.
    func drain(within limit: Nanoseconds) {
        switch phase {
        case .running, .acceptedLast:
            // The time for emptying the backlogs counts too.
            let deadline = max(now, (stopHeard ?? now) + limit)
            phase = .draining(since: now, deadline: deadline)
        case .draining(let since, let deadline):
            phase = .draining(since: since, deadline: min(deadline, now + limit))
        // No deadline is set: without a connection to check, the loop would not sleep until the
        // others end.
        case .drained, .ended: return
        }
        drainDeadline = now
    }

    /// Whether the server is stopping and accepts no more connections.
    package var isStopping: Bool {
        phase != .running || listeners.contains { $0.isStopping }
    }

    package func isBusy(_ connection: ConnectionReference) -> Bool {
        connection.pointee.flags.contains(.busy)
    }

    package func setBusy(_ connection: ConnectionReference, _ isBusy: Bool) {
        guard isBusy != connection.pointee.flags.contains(.busy) else { return }
        if isBusy {
            connection.pointee.flags.insert(.busy)
        } else {
            // The peer's time-outs start anew, but a drain need not wait again.
            if !isStopping { connection.pointee.lastReceived = now }
            connection.pointee.flags.remove(.busy)
            connection.pointee.flags.remove(.endShown)
            workDone(connection)
        }
    }

    func advanceDrain() {
        guard case .draining(let since, let deadline) = phase else { return }
        if let due = drainDeadline, due <= now { lookAtConnections(since, deadline) }
        // Connections passed to this loop and not opened yet are served too.
        guard table.count == 0, port.adoptions.isNone else { return }
        drainDeadline = nil
        phase = .drained
        owner.drained(index)
    }

    /// Closes quiet connections and sets the time of the next check.
    private func lookAtConnections(_ since: Nanoseconds, _ deadline: Nanoseconds) {
        // The first half of the time is for peers that still send, the second half for the last
        // bytes of output.
        let patience = since + (deadline - since) / 2
        drainDeadline = now < deadline ? deadline : nil
        for token in table.tokens(where: { $0.state != .listening && $0.state != .closing }) {
            guard let connection = table.find(token) else { continue }
            let quietAt = quietTime(of: connection, since)
            if connection.pointee.state == .connecting {
                abandonConnect(connection, SystemError(ECANCELED, "connect"))
            } else if now >= deadline {
                // The kernel has all output of a lingering connection and delivers it after a
                // close.
                if connection.pointee.state == .lingering {
                    beginClosing(connection)
                } else {
                    abort(connection, .shutdown)
                }
            } else if connection.pointee.state == .open {
                let end = min(patience, quietAt)
                if now < patience && now >= quietAt && hasUnread(connection) {
                    drainDeadline = min(drainDeadline ?? .max, now + Self.quietTime)
                } else if now >= end {
                    close(connection, .shutdown)
                } else {
                    drainDeadline = min(drainDeadline ?? end, end)
                }
            }
        }
    }

    private func quietTime(
        of connection: ConnectionReference, _ since: Nanoseconds
    ) -> Nanoseconds {
        guard !isWorking(connection) else { return .max }
        let moved = connection.pointee.lastProgress
        let quietAt = max(since, moved) + Self.quietTime
        let isNew = connection.pointee.lastSent == 0
        return isNew ? max(quietAt, moved + Self.firstByteTime) : quietAt
    }

    /// Whether a silent peer may have sent bytes that this loop has not pulled. Possible reasons
    /// are a slow callback, other connections, no free buffer, or the turn's budget.
    func hasUnread(_ connection: ConnectionReference) -> Bool {
        if isBehind { return true }
        return connection.pointee.flags.isDisjoint(with: .notReading)
            && sockets.hasUnread(connection.pointee.descriptor)
    }

    /// Calls `onShutdown` and releases everything. Later posts are refused.
    func end() {
        guard !hasEnded else { return }
        sayGoodbye()
        endQuietly()
        replaceDelegate(by: delegate.rest)
    }

    private func sayGoodbye() {
        depth += 1
        delegate.shutDown(self)
        depth -= 1
    }

    /// Calls the handler's last callback on a loop whose driver has failed. The other loops must be
    /// drained first. Does nothing on other loops.
    package func endAfterFailure() {
        guard owesGoodbye else { return }
        owesGoodbye = false
        sayGoodbye()
        replaceDelegate(by: delegate.rest)
    }

    private func endQuietly() {
        phase = .ended
        closeMailbox()
        tellLastRefusals()
        for stream in listeners.flatMap(\.parked) { sockets.discard(stream.descriptor) }
        letGo()
    }

    /// Releases objects of the program, some of which may hold this loop, and the kernel's
    /// resources. Objects may use the loop while they are released, so callers release the handler
    /// last.
    private func letGo() {
        while let action = timers.popDue(at: .max) {
            if case .handler(let timer) = action { timer.cancel() }
        }
        driver.shutDown()
        port.mailbox.forgetWaker()
    }

    private func closeMailbox() {
        let left = takeLeftMessages()
        for message in left + port.mailbox.close() {
            switch message {
            case .adopt(let stream, _, let host):
                _ = port.adoptions.remove()
                if let host { owner.hostDisconnected(host) }
                sockets.discard(stream.descriptor)
                owner.connectionClosed()
            case .run(let body): runClosure(for: nil) { body($0) }
            case .startAccepting, .resumeAccepting, .stopAccepting, .drain, .end: break
            }
        }
    }

    /// Closes every connection with the error and stops the server: the kernel refuses to serve
    /// this loop.
    func driverFailed(_ error: SystemError) {
        port.counters.driverErrors.add()
        owner.report(.driverFailed(error, loop: index))
        // No new connection begins. Memory that the driver still uses is freed after its
        // `shutDown`.
        phase = .drained
        let tokens = cutConnections(error)
        for listener in listeners.indices { cutListener(listener) }
        endQuietly()
        owesGoodbye = true
        forgetConnections(tokens)
        owner.stopRequested(.failed(error))
        owner.acceptingStopped(index)
        owner.drained(index)
    }

    /// Marks a listener as closed; the driver closes those that it has.
    private func cutListener(_ listener: Int) {
        guard listeners[listener].state != .closed else { return }
        removePath(of: listeners[listener].bound)
        if listeners[listener].token == nil {
            sockets.discard(listeners[listener].bound.descriptor)
        }
        forgetOutbox(listener)
        listeners[listener].state = .closed
    }

    private func cutConnections(_ error: SystemError) -> [Token] {
        let tokens = table.tokens(where: { $0.state != .listening })
        for token in tokens {
            guard let connection = table.find(token) else { continue }
            if connection.pointee.state == .connecting { abandonConnect(connection, error) }
            if connection.pointee.state != .closing { beginClosing(connection, .reset(error)) }
        }
        return tokens
    }

    /// Frees connections without `closed`, since the driver has ended.
    private func forgetConnections(_ tokens: [Token]) {
        for token in tokens {
            if let connection = table.find(token), connection.pointee.state == .closing {
                closed(connection)
            }
        }
    }

    /// Ends a loop after a failed start. No connection was accepted and no handler has a last
    /// callback. Connects begun in `onBoot` are answered with ECANCELED.
    package func abandon() {
        for listener in listeners where listener.token == nil {
            removePath(of: listener.bound)
            sockets.discard(listener.bound.descriptor)
        }
        phase = .ended
        let tokens = cutConnections(SystemError(ECANCELED, "connect"))
        closeMailbox()
        tellLastRefusals()
        letGo()
        replaceDelegate(by: delegate.rest)
        forgetConnections(tokens)
    }
}
