import Glibc

/// The end of a connection: finishing, lingering, closing.

extension Loop {
    /// Sends the written bytes, then closes. The first cause stands.
    package func close(_ connection: ConnectionReference, _ cause: CloseCause) {
        guard connection.pointee.state == .open else { return }
        connection.pointee.state = .finishing
        connection.pointee.lastSent = now
        connection.pointee.flags.subtract(.notReading)
        connection.pointee.flags.subtract([.trafficDue, .wakeDue, .workDue, .endDue])
        if !isCurrent(connection) { enqueue(connection) }
        guard let details = connection.pointee.details?.takeUnretainedValue() else { return }
        details.cause = details.cause ?? cause
        // Last, since it releases closures of the program.
        details.work?.drop()
    }

    /// Closes with a reset, without the unsent bytes.
    package func abort(_ connection: ConnectionReference, _ cause: CloseCause) {
        switch connection.pointee.state {
        case .open: close(connection, cause)
        case .finishing, .lingering: enqueue(connection)
        case .connecting: return abandonConnect(connection, SystemError(ECANCELED, "connect"))
        case .closing, .free, .listening: return
        }
        connection.pointee.flags.insert(.aborting)
    }

    /// Ends our side after the written bytes; the peer may continue.
    package func shutdownWrite(_ connection: ConnectionReference) {
        guard connection.pointee.state == .open,
            !connection.pointee.flags.contains(.writeEnded)
        else { return }
        connection.pointee.flags.insert(.writeEnded)
        enqueue(connection)
    }

    /// Queues a connection with pending work.
    @usableFromInline
    @inline(never)
    func enqueue(_ connection: ConnectionReference) {
        guard !connection.pointee.flags.contains(.queued) else { return }
        connection.pointee.flags.insert(.queued)
        attention.append(connection.pointee.token)
    }

    /// Does all work that a connection's state and flags require. May be called at any time outside
    /// a callback.
    @usableFromInline
    @inline(never)
    func attend(_ connection: ConnectionReference) {
        if connection.pointee.state == .open { tellWhatIsDue(connection) }
        if connection.pointee.flags.contains(.dirty) { flush(connection) }
        switch connection.pointee.state {
        case .open:
            updateReading(connection)
            if connection.pointee.inbound.base != nil { connection.pointee.inbound.settle() }
            if connection.pointee.flags.contains(.writeEnded)
                && connection.pointee.outbound.isEmpty
            {
                sendEnd(connection)
                closeIfBothEnded(connection)
            }
        case .finishing: finish(connection)
        case .lingering:
            if connection.pointee.flags.contains(.aborting) { beginClosing(connection) }
        case .connecting, .closing, .free, .listening: break
        }
    }

    private func tellWhatIsDue(_ connection: ConnectionReference) {
        if connection.pointee.flags.contains(.workDue) { startWork(connection) }
        if connection.pointee.flags.contains(.piped) { passOnUnread(connection) }
        let flags = connection.pointee.flags
        let isReading = flags.isDisjoint(with: .notReading)
        if flags.contains(.piped) {
            connection.pointee.flags.subtract([.wakeDue, .trafficDue])
        } else if flags.contains(.wakeDue) || (flags.contains(.trafficDue) && isReading) {
            connection.pointee.flags.subtract([.wakeDue, .trafficDue])
            callback(connection) { try $0.traffic(connection) }
            if flags.contains(.datagrams) { setHoldsEmptyDatagram(connection, false) }
        }
        // The callback may have closed, paused or congested the connection.
        if connection.pointee.state == .open && connection.pointee.flags.contains(.endDue)
            && connection.pointee.flags.isDisjoint(with: .notReading)
        {
            connection.pointee.flags.remove(.endDue)
            tellPeerEnded(connection)
        }
    }

    func sendEnd(_ connection: ConnectionReference) {
        guard connection.pointee.flags.isDisjoint(with: [.endSent, .datagrams]) else { return }
        connection.pointee.flags.insert(.endSent)
        driver.submit(.shutdownWrite, for: connection.pointee.token)
    }

    private func finish(_ connection: ConnectionReference) {
        if !connection.pointee.flags.isDisjoint(with: [.aborting, .broken]) {
            return beginClosing(connection)
        }
        connection.pointee.discarded += connection.pointee.inbound.count
        connection.pointee.inbound.release()
        updateReading(connection)
        guard connection.pointee.outbound.isEmpty else { return armTimer(connection) }
        if connection.pointee.flags.contains(.resetsAtEnd) { return resetWhenTaken(connection) }
        // A datagram socket has no end to send or to wait for.
        if !connection.pointee.flags.isDisjoint(with: [.peerEnded, .datagrams]) {
            return beginClosing(connection)
        }
        if isTaken(connection) { beginClosing(connection) } else { linger(connection) }
    }

    static var acknowledgementTime: Nanoseconds { 20_000_000 }

    /// Resets the connection once the peer's host has all bytes, since a reset destroys undelivered
    /// ones. A Unix socket's peer keeps sent bytes and is not notified of a reset.
    func resetWhenTaken(_ connection: ConnectionReference) {
        let left = sockets.unacknowledged(connection.pointee.descriptor)
        guard left > 0 else {
            connection.pointee.flags.insert(.aborting)
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
            connection.pointee.state != .closing && depth == 0, "closing inside a callback")
        let wasLingering = connection.pointee.state == .lingering
        connection.pointee.state = .closing
        timers.cancel(connection.pointee.timer)
        if wasLingering {
            port.counters.lingering.add(-1)
        } else {
            tellClosed(connection, cause)
        }
        if connection.pointee.flags.contains(.aborting) {
            sockets.resetOnClose(connection.pointee.descriptor)
        }
        driver.submit(.close, for: connection.pointee.token)
    }

    /// Ends the handler's part and releases the objects that it has stored here.
    func tellClosed(_ connection: ConnectionReference, _ cause: CloseCause?) {
        guard let owned = connection.pointee.details else { return }
        let details = owned.takeUnretainedValue()
        let final = details.cause ?? cause ?? .local
        details.work?.drop()
        pipeBroken(connection, final)
        details.cause = final
        details.cancelTimers()
        failAwaitedSends(connection, final)
        if connection.pointee.flags.contains(.opened) {
            callback(connection) { $0.closed(connection, final) }
        }
        connection.pointee.inbound.release()
        port.counters.closed.add()
        // The host is counted until the descriptor is closed.
        if let host = details.countedHost { closingHosts[connection.pointee.token] = host }
        connection.pointee.details = nil
        // The connection already reads as closed: objects freed here may use it.
        owned.release()
    }

    /// Handles `closed`, the driver's last completion for a token.
    func closed(_ connection: ConnectionReference) {
        if connection.pointee.state == .listening { return listenerClosed(connection) }
        precondition(connection.pointee.state == .closing, "closed without being asked")
        connection.pointee.outbound.clear(chunks)
        if configuration.countsHosts,
            let host = closingHosts.removeValue(forKey: connection.pointee.token)
        {
            owner.hostDisconnected(host)
        }
        // A connect that did not succeed still has its details.
        let details = connection.pointee.details
        connection.pointee.details = nil
        table.release(connection)
        details?.release()
        owner.connectionClosed()
        acceptAfterClose()
    }
}
