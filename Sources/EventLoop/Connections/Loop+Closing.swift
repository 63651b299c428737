import Glibc

/// The end of a connection: finishing, lingering, closing.

extension Loop {
    /// Sends the written bytes, then closes. The first cause stands.
    package func close(_ connection: ConnectionReference, _ cause: CloseCause) {
        guard connection.state == .open else { return }
        let details = connection.details?.takeUnretainedValue()
        if let details, details.isInPipe { noteCut(connection, details, cause) }
        connection.state = .finishing
        connection.lastSent = now
        connection.pauses = []
        connection.flags.subtract([.trafficDue, .wakeDue, .workDue, .endDue])
        if !isCurrent(connection) { enqueue(connection) }
        guard let details else { return }
        details.cause = details.cause ?? cause
        // Last, since it releases closures of the program.
        details.work?.drop()
    }

    /// Closes with a reset, without the unsent bytes.
    package func abort(_ connection: ConnectionReference, _ cause: CloseCause) {
        switch connection.state {
        case .open: close(connection, cause)
        case .finishing, .lingering: enqueue(connection)
        case .connecting: return abandonConnect(connection, SystemError(ECANCELED, "connect"))
        case .securing where isConnecting(connection):
            return abandonConnect(connection, SystemError(ECANCELED, "connect"))
        case .securing: enqueue(connection)
        case .closing, .free, .listening: return
        }
        connection.flags.insert(.aborting)
        if let details = connection.details?.takeUnretainedValue(), details.isInPipe {
            noteCut(connection, details, cause)
        }
    }

    /// Ends our side after the written bytes; the peer may continue.
    package func shutdownWrite(_ connection: ConnectionReference) {
        guard connection.state == .open,
            !connection.flags.contains(.writeEnded)
        else { return }
        connection.flags.insert(.writeEnded)
        enqueue(connection)
    }

    /// Queues a connection with pending work.
    @usableFromInline
    @inline(never)
    func enqueue(_ connection: ConnectionReference) {
        guard !connection.flags.contains(.queued) else { return }
        connection.flags.insert(.queued)
        pending.append(connection.token)
    }

    /// Does all work that a connection's state and flags require. May be called at any time outside
    /// a callback.
    @usableFromInline
    @inline(never)
    func process(_ connection: ConnectionReference) {
        if isUpgrading(connection) {
            continueHandshake(connection)
        } else if connection.state == .open {
            tellWhatIsDue(connection)
        }
        if connection.flags.contains(.dirty) { flush(connection) }
        switch connection.state {
        case .open:
            updateReading(connection)
            if connection.inbound.base != nil { connection.inbound.settle() }
            if connection.flags.contains(.writeEnded) && hasSentAll(connection) {
                sendEnd(connection)
                closeIfBothEnded(connection)
            }
        case .finishing: finish(connection)
        case .securing: processSecuring(connection)
        case .lingering:
            if connection.flags.contains(.aborting) { beginClosing(connection) }
        case .connecting, .closing, .free, .listening: break
        }
    }

    private func tellWhatIsDue(_ connection: ConnectionReference) {
        if connection.flags.contains(.workDue) { startWork(connection) }
        guard !connection.flags.contains(.datagrams) else { return showDueDatagrams(connection) }
        if connection.flags.contains(.piped) { passOnUnread(connection) }
        let flags = connection.flags
        let isReading = connection.pauses.isEmpty
        if flags.contains(.piped) {
            connection.flags.subtract([.wakeDue, .trafficDue])
        } else if flags.contains(.wakeDue) || (flags.contains(.trafficDue) && isReading) {
            connection.flags.subtract([.wakeDue, .trafficDue])
            callback(connection) { try $0.traffic(connection) }
        }
        // The callback may have closed, paused or congested the connection.
        if connection.state == .open && connection.flags.contains(.endDue)
            && connection.pauses.isEmpty
        {
            connection.flags.remove(.endDue)
            tellPeerEnded(connection)
        }
    }

    func sendEnd(_ connection: ConnectionReference) {
        guard connection.flags.isDisjoint(with: [.endSent, .datagrams]) else { return }
        connection.flags.insert(.endSent)
        if connection.flags.contains(.filtered) { filter(of: connection)?.dropsOutput = true }
        driver.submit(.shutdownWrite, for: connection.token)
    }

    private func finish(_ connection: ConnectionReference) {
        if !connection.flags.isDisjoint(with: [.aborting, .broken]) {
            return beginClosing(connection)
        }
        connection.discarded += connection.inbound.count
        connection.inbound.release()
        updateReading(connection)
        guard hasSentAll(connection) else { return armTimer(connection) }
        if connection.flags.contains(.resetsAtEnd) { return resetWhenTaken(connection) }
        // A datagram socket has no end to send or to wait for.
        if !connection.flags.isDisjoint(with: [.peerEnded, .datagrams]) {
            return beginClosing(connection)
        }
        if isTaken(connection) { beginClosing(connection) } else { linger(connection) }
    }

    static var acknowledgementTime: Nanoseconds { 20_000_000 }

    /// Resets the connection once the peer's host has all bytes, since a reset destroys undelivered
    /// ones. A Unix socket's peer keeps sent bytes and is not notified of a reset.
    func resetWhenTaken(_ connection: ConnectionReference) {
        let left = sockets.unacknowledged(connection.descriptor)
        guard left > 0 else {
            connection.flags.insert(.aborting)
            return beginClosing(connection)
        }
        noteSendQueue(connection, left)
        armTimer(connection)
    }

    /// Submits the close, whose answer frees the slot. Calls `onClose` first if that has not run
    /// yet.
    @inline(never)
    func beginClosing(_ connection: ConnectionReference, _ cause: CloseCause? = nil) {
        precondition(
            connection.state != .closing && depth == 0, "closing inside a callback")
        let wasLingering = connection.state == .lingering
        connection.state = .closing
        timers.cancel(connection.timer)
        if wasLingering {
            counters.lingering.add(-1)
        } else {
            tellClosed(connection, cause)
        }
        if connection.flags.contains(.aborting) {
            sockets.resetOnClose(connection.descriptor)
        }
        driver.submit(.close, for: connection.token)
    }

    /// Ends the handler's part and releases the objects that it has stored here.
    func tellClosed(_ connection: ConnectionReference, _ cause: CloseCause?) {
        guard let owned = connection.details else { return }
        let details = owned.takeUnretainedValue()
        let final = details.cause ?? cause ?? .local
        details.work?.drop()
        if connection.flags.contains(.filtered) { leaveFilter(connection) }
        pipeBroken(connection, final)
        details.cause = final
        details.cancelTimers()
        failPromises(connection, final)
        if connection.flags.contains(.opened) {
            callback(connection) { $0.closed(connection, final) }
        }
        connection.inbound.release()
        counters.closed.add()
        // The host is counted until the descriptor is closed.
        if details.isHostCounted { closingHosts[connection.token] = details.remoteAddress?.host }
        connection.details = nil
        // The connection already reads as closed: objects freed here may use it.
        owned.release()
    }

    /// Handles `closed`, the driver's last completion for a token.
    func closed(_ connection: ConnectionReference) {
        if connection.state == .listening { return listenerClosed(connection) }
        precondition(connection.state == .closing, "closed without being asked")
        connection.outbound.clear(chunks)
        if connection.flags.contains(.filtered) { forgetFilter(connection) }
        if configuration.countsHosts,
            let host = closingHosts.removeValue(forKey: connection.token)
        {
            owner.hostDisconnected(host)
        }
        // A connect that did not succeed still has its details.
        let details = connection.details
        connection.details = nil
        table.release(connection)
        details?.release()
        owner.connectionClosed()
        acceptAfterClose()
    }
}
