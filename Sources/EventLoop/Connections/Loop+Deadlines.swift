import Glibc

/// Deadlines of connections: when each should be looked at, and what is done to who is overdue.
extension Loop {
    /// When the connection's one timer should next be looked at; it is moved lazily, not at each
    /// event.
    private func deadline(of connection: ConnectionReference) -> Nanoseconds? {
        switch connection.pointee.state {
        case .open: return openDeadline(connection)
        case .finishing:
            // What comes meanwhile is thrown away, and no progress.
            return isWaitingForPeer(connection)
                ? now + Self.acknowledgementTime
                : seen(connection.pointee.lastSent) + configuration.closeTimeout
        case .lingering: return nextLook(at: connection)
        case .connecting: return connection.pointee.details?.takeUnretainedValue().attempt?.deadline
        case .closing, .free, .listening: return nil
        }
    }

    /// The next time to look at an open connection; it is overdue when that has come, since what
    /// does not count now has its time from now on. What it owes may begin between two looks, so a
    /// write's progress is looked at four times as often as it is due.
    private func openDeadline(_ connection: ConnectionReference) -> Nanoseconds? {
        if connection.pointee.flags.contains(.broken) { return brokenDeadline(connection) }
        var deadline: Nanoseconds?
        func add(_ time: Nanoseconds) { deadline = min(deadline ?? time, time) }
        if let idle = configuration.idleTimeout {
            add((isWorking(connection) ? now : seen(connection.pointee.lastProgress)) + idle)
        }
        if let read = configuration.readTimeout {
            // Whoever does not read does not miss anything either.
            add((isAwaitingInput(connection) ? seen(connection.pointee.lastReceived) : now) + read)
        }
        if let write = configuration.writeTimeout {
            let isOwed = !connection.pointee.outbound.isEmpty
            add(isOwed ? seen(connection.pointee.lastSent) + write : now + max(1, write / 4))
        }
        return deadline
    }

    /// When the peer could see what the loop noted at `time`: an answer out of a callback that took
    /// a second has gone out a second later.
    private func seen(_ time: Nanoseconds) -> Nanoseconds {
        time >= heldUp.from ? max(time, heldUp.to) : time
    }

    /// After a reset the kernel has little left to receive. After another error the peer may go on
    /// for ever.
    private func brokenDeadline(_ connection: ConnectionReference) -> Nanoseconds {
        let isHeldUp = connection.pointee.flags.contains(.pipeFull)
        return (isHeldUp ? now : connection.pointee.lastSent) + configuration.closeTimeout
    }

    /// The peer's turn: we read, and no blocking work of ours is being waited for.
    private func isAwaitingInput(_ connection: ConnectionReference) -> Bool {
        connection.pointee.flags.isDisjoint(with: .notReading) && !hasWork(connection)
    }

    /// Its bytes are behind those of many others: it is not silent, if this has not gone on for
    /// long.
    private func hasInputComing(
        _ connection: ConnectionReference, since deadline: Nanoseconds
    ) -> Bool {
        connection.pointee.state == .open && now < deadline + Self.patienceWithOthers
            && hasUnread(connection)
    }

    private static var patienceWithOthers: Nanoseconds { 1_000_000_000 }

    /// All is sent, and a reset waits for the peer's host to have it, which has gone on lately.
    private func isWaitingForPeer(_ connection: ConnectionReference) -> Bool {
        connection.pointee.state == .finishing
            && connection.pointee.flags.contains(.resetsAtEnd)
            && connection.pointee.outbound.isEmpty
            && connection.pointee.lastSent + configuration.closeTimeout > now
    }

    /// Between two looks at a deadline, however short the time-out.
    private static var shortestLook: Nanoseconds { 1_000_000 }

    func armTimer(_ connection: ConnectionReference) {
        timers.cancel(connection.pointee.timer)
        guard let deadline = deadline(of: connection) else { return }
        connection.pointee.timer = timers.schedule(
            at: max(deadline, now + Self.shortestLook), .connection(connection.pointee.token))
    }

    /// A loop that was held up, by a slow callback or since its process was stopped, finds out that
    /// a time has passed before it has seen what came in that time. So nobody is overdue at the
    /// first look: between that and the second one is a wait, which brings what has come.
    func deadlinePassed(_ connection: ConnectionReference, isSecondLook: Bool) {
        if isWaitingForPeer(connection) { return resetWhenTaken(connection) }
        if connection.pointee.state == .lingering { return lookAtLingering(connection) }
        guard let deadline = deadline(of: connection) else { return }
        guard deadline <= now else { return armTimer(connection) }
        if connection.pointee.state == .connecting {
            return abandonConnect(connection, SystemError(ETIMEDOUT, "connect"))
        }
        guard isSecondLook, !hasInputComing(connection, since: deadline) else {
            connection.pointee.timer = timers.schedule(
                at: now + Self.shortestLook, .overdue(connection.pointee.token))
            return
        }
        switch connection.pointee.state {
        case .open:
            port.counters.timeouts.add()
            close(connection, .timeout)
        case .finishing:
            // What is unsent will not arrive, and must not look as if it had.
            port.counters.timeouts.add()
            connection.pointee.details?.takeUnretainedValue().cause = .timeout
            abort(connection, .timeout)
        case .connecting, .lingering, .closing, .free, .listening: break
        }
    }
}
