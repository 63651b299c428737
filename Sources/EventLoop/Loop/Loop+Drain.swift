import Glibc

/// The end of a loop: quiet connections close, busy ones can finish, and at the deadline all are
/// aborted.

enum LoopPhase: Equatable {
    case running
    /// This loop accepts no more.
    case acceptedLast
    case draining(Drain)
    /// No connection is left; waits for the other loops.
    case drained
    case ended
}

extension Loop {
    /// Starts the drain. A second request may shorten the time, not lengthen it.
    func drain(within limit: Nanoseconds) {
        switch phase {
        case .running, .acceptedLast:
            // The time for emptying the backlogs counts too.
            let deadline = max(now, (acceptor.stopHeard ?? now) + limit)
            phase = .draining(Drain(since: now, deadline: deadline))
            stopNamedConnects(SystemError(ECANCELED, "connect"))
        case .draining(var drain):
            drain.deadline = min(drain.deadline, now + limit)
            phase = .draining(drain)
        // No deadline is set: without a connection to check, the loop would not sleep until the
        // others end.
        case .drained, .ended: return
        }
        drainDeadline = now
    }

    /// Whether the server is stopping and accepts no more connections.
    package var isStopping: Bool {
        phase != .running || acceptor.isStopping
    }

    package func isBusy(_ connection: ConnectionReference) -> Bool {
        connection.flags.contains(.busy)
    }

    package func setBusy(_ connection: ConnectionReference, _ isBusy: Bool) {
        guard isBusy != connection.flags.contains(.busy) else { return }
        if isBusy {
            connection.flags.insert(.busy)
            if connection.state == .open { connection.phaseStart = now }
        } else {
            // A drain need not wait again, and a task's work within one turn has taken no time.
            if !isStopping, connection.state == .open,
                connection.phaseStart != now || !hasTask(connection)
            {
                restartTimeouts(connection)
            }
            connection.flags.remove(.busy)
            connection.details?._withUnsafeGuaranteedRef { $0.isEndShown = false }
            workDone(connection)
            closeIfBothEnded(connection)
        }
    }

    /// Starts the peer's time-outs anew after the server's own work. A task is busy between any two
    /// waits, and the peer may be silent in all of them, so there only its work does not count.
    @inline(never)
    private func restartTimeouts(_ connection: ConnectionReference) {
        guard let details = connection.details?.takeUnretainedValue() else { return }
        /// The time of a last byte that is as old now as it was when the work began.
        func moved(_ time: Nanoseconds) -> Nanoseconds {
            details.hasTask ? now - max(0, connection.phaseStart - time) : now
        }
        let received = moved(connection.lastReceived)
        if details.openedAt == connection.lastReceived { details.openedAt = received }
        connection.lastReceived = received
        // 0 until bytes were sent. The peer's time for unsent bytes goes on.
        if details.hasTask, connection.lastSent != 0, !owes(connection) {
            connection.lastSent = moved(connection.lastSent)
        }
    }

    func advanceDrain() {
        guard case .draining(let drain) = phase else { return }
        if let due = drainDeadline, due <= now { applyDrain(drain) }
        // Connections passed to this loop and not opened yet are served too.
        guard table.count == 0, remote.adoptions.isNone else { return }
        drainDeadline = nil
        phase = .drained
        owner.drained(index)
    }

    /// Does what the drain decides about each connection and sets the time of the next check.
    private func applyDrain(_ drain: Drain) {
        drainDeadline = now < drain.deadline ? drain.deadline : nil
        for token in table.tokens(where: { $0.state != .listening && $0.state != .closing }) {
            guard let connection = table.find(token) else { continue }
            let others = othersInPipe(connection).filter { $0.state == .open }
            let unread = { self.hasUnread(connection) || others.contains { self.hasUnread($0) } }
            let facts = facts(about: connection, beside: others)
            switch drain.decision(about: facts, now: now, hasUnread: unread()) {
            case .wait(let time): drainDeadline = min(drainDeadline ?? time, time)
            case .close: close(connection, .shutdown)
            case .abort: abort(connection, .shutdown)
            case .release: beginClosing(connection)
            }
        }
    }

    /// A pipe is quiet only as a whole: each of its connections waits for the others. A source that
    /// is held back by its target's peer is in the middle of its stream.
    private func facts(
        about connection: ConnectionReference, beside others: [ConnectionReference]
    ) -> Drain.Facts {
        var facts = Drain.Facts(
            state: connection.state, lastReceived: connection.lastReceived,
            lastSent: connection.lastSent,
            isWorking: isWorking(connection) || connection.pauses.contains(.pipe),
            hasSpoken: hasSpoken(connection), isPiped: !others.isEmpty)
        for other in others {
            facts.lastReceived = max(facts.lastReceived, other.lastReceived)
            facts.lastSent = max(facts.lastSent, other.lastSent)
            facts.isWorking = facts.isWorking || isWorking(other) || other.pauses.contains(.pipe)
        }
        return facts
    }

    /// Whether the peer has sent bytes for the handler. The time of its first ones is not that of
    /// the opening.
    private func hasSpoken(_ connection: ConnectionReference) -> Bool {
        guard let details = connection.details?.takeUnretainedValue() else { return true }
        return details.openedAt != connection.lastReceived
    }

    /// Whether a silent peer may have sent bytes that this loop has not pulled. Possible reasons
    /// are a slow callback, other connections, no free buffer, or the turn's budget.
    func hasUnread(_ connection: ConnectionReference) -> Bool {
        if isBehind { return true }
        return connection.pauses.isEmpty
            && sockets.hasUnread(connection.descriptor)
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
        // While this thread still is their executor. A task that never waits goes on elsewhere.
        for _ in 0..<16 where !jobs.isEmpty { runJobs() }
        phase = .ended
        closeMailbox()
        runLastPostponed()
        for stream in acceptor.takeParked() { sockets.discard(stream.descriptor) }
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
        for listener in acceptor.takeCut() { owner.listenerClosed(listener) }
        remote.mailbox.forgetWaker()
    }

    private func closeMailbox() {
        let left = takeLeftMessages()
        for message in left + remote.mailbox.close() {
            switch message {
            case .adopt(let stream, _, let host):
                _ = remote.adoptions.remove()
                if let host { owner.hostDisconnected(host) }
                sockets.discard(stream.descriptor)
                owner.connectionClosed()
            case .run(let body): runClosure(for: nil) { body($0) }
            case .job(let job): jobs.append(job)
            case .startAccepting, .resumeAccepting, .stopAccepting, .drain, .end: break
            }
        }
        passOnJobs()
    }

    /// Closes every connection with the error and stops the server: the kernel refuses to serve
    /// this loop.
    func driverFailed(_ error: SystemError) {
        counters.driverErrors.add()
        owner.report(.driverFailed(error, loop: index))
        // No new connection begins. Memory that the driver still uses is freed after its
        // `shutDown`.
        phase = .drained
        let tokens = cutConnections(error)
        for listener in acceptor.indices { cutListener(listener) }
        endQuietly()
        owesGoodbye = true
        forgetConnections(tokens)
        owner.stopRequested(.failed(error))
        owner.acceptingStopped(index)
        owner.drained(index)
    }

    private func cutConnections(_ error: SystemError) -> [Token] {
        stopNamedConnects(error)
        let tokens = table.tokens(where: { $0.state != .listening })
        for token in tokens {
            guard let connection = table.find(token) else { continue }
            if isConnecting(connection) { abandonConnect(connection, error) }
            if connection.state != .closing { beginClosing(connection, .reset(error)) }
        }
        return tokens
    }

    /// Frees connections without `closed`, since the driver has ended.
    private func forgetConnections(_ tokens: [Token]) {
        for token in tokens {
            if let connection = table.find(token), connection.state == .closing {
                closed(connection)
            }
        }
    }

    /// Ends a loop after a failed start. No connection was accepted and no handler has a last
    /// callback. Connects begun in `onBoot` are answered with ECANCELED.
    package func abandon() {
        for listener in acceptor.indices { cutListener(listener) }
        phase = .ended
        let tokens = cutConnections(SystemError(ECANCELED, "connect"))
        closeMailbox()
        runLastPostponed()
        letGo()
        replaceDelegate(by: delegate.rest)
        forgetConnections(tokens)
    }
}
