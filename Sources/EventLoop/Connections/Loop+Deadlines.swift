import Glibc

/// Deadlines of connections: the time of each check, and the action when one is overdue.
extension Loop {
    /// The next check by the connection's only timer, which is moved at checks, not at each event.
    private func deadline(of connection: ConnectionReference) -> Nanoseconds? {
        switch connection.state {
        case .open: return openDeadline(connection)
        case .finishing:
            // Bytes received meanwhile are discarded and are no progress.
            return isWaitingForPeer(connection)
                ? now + Self.acknowledgementTime
                : seen(connection.lastSent) + configuration.closeTimeout
        case .lingering: return nextLook(at: connection)
        case .connecting: return connection.details?.takeUnretainedValue().attempt?.deadline
        case .securing: return filter(of: connection)?.deadline
        case .closing, .free, .listening: return nil
        }
    }

    /// The next check of an open connection. It is overdue at that time, since exempt times start
    /// anew at each check. Output may begin to wait between two checks, so without waiting output
    /// the next check comes after a quarter of the write time-out.
    private func openDeadline(_ connection: ConnectionReference) -> Nanoseconds? {
        if connection.flags.contains(.broken) { return brokenDeadline(connection) }
        var deadline: Nanoseconds?
        func add(_ time: Nanoseconds) { deadline = min(deadline ?? time, time) }
        if let upgrade = upgradeDeadline(connection) { add(upgrade) }
        if let idle = configuration.idleTimeout {
            add(idleSince(connection) + idle)
        }
        if let read = configuration.readTimeout {
            // A paused connection misses no input.
            add((isAwaitingInput(connection) ? seen(connection.lastReceived) : now) + read)
        }
        if let write = configuration.writeTimeout {
            let isOwed = owes(connection)
            add(isOwed ? seen(connection.lastSent) + write : now + max(1, write / 4))
        }
        return deadline
    }

    /// The time at which the peer could see the effect of an event noted at `time`. For example,
    /// the answer of a callback that ran for a second is sent a second later.
    func seen(_ time: Nanoseconds) -> Nanoseconds {
        time >= heldUp.from ? max(time, heldUp.to) : time
    }

    /// The deadline of a broken connection. After a reset the kernel has little left to receive;
    /// after another error the peer may continue for ever.
    private func brokenDeadline(_ connection: ConnectionReference) -> Nanoseconds {
        let isHeldUp = connection.pauses.contains(.pipe)
        return (isHeldUp ? now : connection.lastSent) + configuration.closeTimeout
    }

    /// The time from which a connection is idle. The server's own work stops that clock, but not
    /// while output waits for the peer: a further request must not keep a connection open whose
    /// earlier answer is not read. A pipe is idle as a whole, since its source is held back by the
    /// target's peer and waits for its answer.
    private func idleSince(_ connection: ConnectionReference) -> Nanoseconds {
        if isWorking(connection) && !awaitsPeer(connection) { return now }
        var progress = connection.lastProgress
        if let other = target(of: connection) {
            progress = max(progress, other.lastProgress)
        }
        return seen(progress)
    }

    /// The peer's turn: the connection is read, the peer has not ended its side, and no blocking
    /// work is pending.
    private func isAwaitingInput(_ connection: ConnectionReference) -> Bool {
        connection.pauses.isEmpty && !hasWork(connection) && !isInputOver(connection)
    }

    /// Whether an event that this loop has not pulled yet shows that the peer is not silent: unread
    /// bytes, or a connect that has succeeded. An entry of io_uring brings few of the events of a
    /// long turn. That excuse ends `patienceWithOthers` after the first check.
    private func hasEventComing(_ connection: ConnectionReference) -> Bool {
        guard let details = connection.details?.takeUnretainedValue(),
            now < details.extras.foundOverdue + Self.patienceWithOthers
        else { return false }
        switch connection.state {
        case .open: return hasUnread(connection)
        case .securing: return connection.flags.contains(.receiving) && hasUnread(connection)
        case .connecting: return (try? sockets.remoteAddress(of: connection.descriptor)) != nil
        case .finishing, .lingering, .closing, .free, .listening: return false
        }
    }

    private static var patienceWithOthers: Nanoseconds { 1_000_000_000 }

    /// All bytes are sent, and a reset waits until the peer's host has them, with recent progress.
    private func isWaitingForPeer(_ connection: ConnectionReference) -> Bool {
        connection.state == .finishing
            && connection.flags.contains(.resetsAtEnd)
            && !owes(connection)
            && connection.lastSent + configuration.closeTimeout > now
    }

    /// The shortest time between two checks, for any time-out.
    private static var shortestLook: Nanoseconds { 1_000_000 }

    func armTimer(_ connection: ConnectionReference) {
        timers.cancel(connection.timer)
        guard let deadline = deadline(of: connection) else { return }
        let check = min(deadline, nextSendQueueCheck(connection) ?? deadline)
        connection.timer = timers.schedule(
            at: max(check, now + Self.shortestLook), .connection(connection.token))
    }

    /// After a slow callback or a stopped process, a loop sees an expired deadline before the
    /// events of that time. So no connection is overdue at the first check. The second check
    /// follows a wait, which brings those events.
    func deadlinePassed(_ connection: ConnectionReference, isSecondLook: Bool) {
        if isWaitingForPeer(connection) { return resetWhenTaken(connection) }
        if connection.state == .lingering { return lookAtLingering(connection) }
        checkSendQueue(connection)
        if let other = target(of: connection) { checkSendQueue(other) }
        guard let deadline = deadline(of: connection) else { return }
        guard deadline <= now else { return armTimer(connection) }
        guard isSecondLook, !hasEventComing(connection) else {
            if !isSecondLook { connection.details?.takeUnretainedValue().extras.foundOverdue = now }
            connection.timer = timers.schedule(
                at: now + Self.shortestLook, .overdue(connection.token))
            return
        }
        switch connection.state {
        case .open:
            if let upgrade = upgradeDeadline(connection), upgrade <= now {
                return handshakeTimedOut(connection)
            }
            counters.timeouts.add()
            close(connection, .timeout)
        case .finishing:
            // The unsent bytes will not arrive, and the stream must not look complete.
            counters.timeouts.add()
            connection.details?.takeUnretainedValue().cause = .timeout
            abort(connection, .timeout)
        case .securing: handshakeTimedOut(connection)
        case .connecting: abandonConnect(connection, SystemError(ETIMEDOUT, "connect"))
        case .lingering, .closing, .free, .listening: break
        }
    }
}
