/// Connected datagram sockets: connections with message boundaries, which an error seldom ends.
extension Loop {
    /// The pause before a failed receive is repeated, if another failed just before; a first
    /// failure is repeated at once.
    private static var receiveRetryTime: Nanoseconds { 20_000_000 }

    /// Calls `onTraffic` once for each datagram. A datagram that it leaves unread is dropped,
    /// unless a pause has begun: then it can be read until the next one.
    func receivedDatagram(
        _ connection: ConnectionReference, _ bytes: UnsafeRawBufferPointer
    ) {
        connection.lastReceived = now
        counters.datagramsIn.add()
        counters.bytesIn.add(bytes.count)
        guard connection.flags.isDisjoint(with: .needsReceivedDatagram) else {
            return receivedDatagramSlow(connection, bytes)
        }
        show(connection, bytes)
    }

    /// Handles a datagram of a pause, of a pipe, or behind others that were kept.
    @inline(never)
    private func receivedDatagramSlow(
        _ connection: ConnectionReference, _ bytes: UnsafeRawBufferPointer
    ) {
        if connection.flags.contains(.trafficDue) { showDueDatagrams(connection) }
        // A callback may have closed the connection, or begun another pause.
        guard connection.state == .open else { return }
        guard connection.pauses.isEmpty else { return keep(connection, bytes) }
        if connection.flags.contains(.piped) { return passOn(connection, bytes) }
        show(connection, bytes)
    }

    private func show(_ connection: ConnectionReference, _ bytes: UnsafeRawBufferPointer) {
        // One that a pause had left unread.
        connection.inbound.release()
        connection.inbound.lend(bytes)
        if bytes.count == 0 { setHoldsEmptyDatagram(connection, true) }
        callback(connection) { try $0.traffic(connection) }
        if bytes.count == 0 { setHoldsEmptyDatagram(connection, false) }
        leaveDatagram(connection)
    }

    /// Drops a datagram that its callback has left unread, or passes it to a pipe that the callback
    /// has made. Keeps it in a pause: the program reads it later, or the library shows it again.
    private func leaveDatagram(_ connection: ConnectionReference) {
        guard connection.state == .open, connection.pauses.isEmpty else { return }
        if connection.flags.contains(.piped) { passOnUnread(connection) }
        connection.inbound.release()
    }

    /// Does what is due for a datagram socket: a wake-up, a datagram that a pause of the library
    /// has left unread, and those that came in a pause. Stops at another pause.
    func showDueDatagrams(_ connection: ConnectionReference) {
        let flags = connection.flags
        let isLeft = flags.contains(.trafficDue) && connection.inbound.count > 0
        let isUnreadDue = isLeft && connection.pauses.isEmpty
        connection.flags.subtract([.wakeDue, .trafficDue])
        // Behind the next pause, which has begun before the end of the last one was noticed.
        if isLeft && !isUnreadDue && !flags.contains(.piped) {
            connection.flags.insert(.trafficDue)
        }
        if flags.contains(.piped) {
            passOnUnread(connection)
        } else if flags.contains(.wakeDue) || isUnreadDue {
            callback(connection) { try $0.traffic(connection) }
            leaveDatagram(connection)
        }
        guard let kept = keptDatagrams(connection) else { return }
        while connection.state == .open, connection.pauses.isEmpty, let bytes = kept.take() {
            bytes.withUnsafeBytes {
                if connection.flags.contains(.piped) {
                    passOn(connection, $0)
                } else {
                    show(connection, $0)
                }
            }
        }
        // A pipe that a callback made has set it for those that are passed on by now.
        if connection.inbound.count == 0 { connection.flags.remove(.trafficDue) }
        markKeptDatagrams(connection)
    }

    /// Keeps a datagram that the driver had received before it stopped.
    private func keep(_ connection: ConnectionReference, _ bytes: UnsafeRawBufferPointer) {
        guard let extras = connection.details?.takeUnretainedValue().extras else { return }
        let kept = extras.keptDatagrams ?? KeptDatagrams()
        extras.keptDatagrams = kept
        if kept.keep(bytes, atMost: configuration.inboundLimit) {
            connection.flags.insert(.trafficDue)
        } else {
            counters.datagramDrops.add()
        }
    }

    private func keptDatagrams(_ connection: ConnectionReference) -> KeptDatagrams? {
        connection.details?.takeUnretainedValue().keptDatagrams
    }

    /// Has kept datagrams shown once no pause is left. Called after the mark was removed.
    func markKeptDatagrams(_ connection: ConnectionReference) {
        guard connection.state == .open, keptDatagrams(connection)?.isEmpty == false else { return }
        connection.flags.insert(.trafficDue)
    }

    private func setHoldsEmptyDatagram(_ connection: ConnectionReference, _ holds: Bool) {
        connection.details?.takeUnretainedValue().holdsEmptyDatagram = holds
    }

    /// Whether an empty datagram is current. True only once: the caller passes it on.
    package func takeEmptyDatagram(_ connection: ConnectionReference) -> Bool {
        guard let details = connection.details?.takeUnretainedValue(),
            details.holdsEmptyDatagram
        else { return false }
        details.holdsEmptyDatagram = false
        return true
    }

    /// Counts any error that does not end the socket as a lost datagram. One error may repeat with
    /// each attempt, so repeated attempts wait.
    func datagramReceiveFailed(_ connection: ConnectionReference, _ error: SystemError) {
        guard let details = connection.details?.takeUnretainedValue() else { return }
        switch connection.state {
        case .finishing
        where !DatagramError.endsSocket(error.number) && !connection.outbound.isEmpty:
            // Queued datagrams are still sent.
            counters.datagramDrops.add()
        case .open where DatagramError.endsSocket(error.number), .finishing, .lingering:
            connection.flags.insert(.peerEnded)
            beginClosing(connection, .reset(error))
        case .open:
            counters.datagramDrops.add()
            let failed = details.extras.receiveFailed
            let since = failed == 0 ? .max : now - failed
            details.extras.receiveFailed = now
            // Twice the retry time, so that attempts stay spaced when each one fails at once.
            details.holdsReceiving = since < 2 * Self.receiveRetryTime
            guard details.holdsReceiving else { return updateReading(connection) }
            timers.schedule(
                at: now + Self.receiveRetryTime, .receiveAgain(connection.token))
        case .closing, .free, .listening, .connecting, .securing: break
        }
    }

    /// Whether receiving waits after repeated failures.
    func isReceiveHeldBack(_ connection: ConnectionReference) -> Bool {
        guard let details = connection.details?.takeUnretainedValue() else { return false }
        return details.holdsReceiving && now < details.extras.receiveFailed + Self.receiveRetryTime
    }

    // MARK: Sending

    /// Handles an empty write: ignored on a stream, an empty datagram if no bytes join it.
    @inline(never)
    package func writeNothing(_ connection: ConnectionReference) {
        guard connection.flags.contains(.datagrams), acceptsWrites(connection) else {
            return
        }
        precondition(
            !connection.flags.contains(.reserving),
            "a write inside write(reserving:) on the same connection")
        separate(connection)
        if connection.outbound.isEmpty { connection.lastSent = now }
        connection.outbound.gather(UnsafeRawBufferPointer(start: nil, count: 0), chunks)
        wrote(connection)
    }

    /// Writes that `body` makes form one unit. On a datagram socket that is a datagram of its own,
    /// separate from earlier and later writes. `tell` works as in `write`.
    package func writeWhole(
        _ connection: ConnectionReference, tell: SendResult? = nil, _ body: () -> Void
    ) {
        guard let details = connection.details?.takeUnretainedValue(),
            acceptsWrites(connection)
        else {
            tell?(.local)
            return
        }
        endDatagram(connection)
        body()
        // The write itself may have failed.
        if let tell, !acceptsWrites(connection) {
            tell(details.cause ?? .local)
        } else if let tell {
            promise(connection, details, tell)
        }
        endDatagram(connection)
    }

    /// Completes a datagram that another callback or closure has gathered.
    func separate(_ connection: ConnectionReference) {
        // Writes in `preWrite` join the datagram that it was called for.
        guard !connection.flags.contains(.preWriting) else { return }
        if connection.details?.takeUnretainedValue().extras.gatheredIn != entry {
            endDatagram(connection)
        }
        // Set last: `endDatagram` may have called the handler.
        connection.details?.takeUnretainedValue().extras.gatheredIn = entry
    }

    /// A number for the running callback or closure: each of them increases one of these counters.
    private var entry: Int {
        counters.bytesIn.current &+ counters.datagramsIn.current &+ closureCount
    }

    /// Completes the gathered datagram, so that later writes do not join it. Ignored on a stream.
    package func endDatagram(_ connection: ConnectionReference) {
        if connection.flags.isSuperset(of: [.datagrams, .dirty]) { flush(connection) }
    }

    /// Sends the gathered datagram, or the one queued before it.
    func sendNextDatagram(_ connection: ConnectionReference) {
        connection.outbound.seal()
        // Only a sealed datagram has its fixed cost added to its bytes.
        judgeBacklog(connection)
        guard let bytes = connection.outbound.nextDatagramToSend(chunks) else { return }
        driver.submit(.send(bytes), for: connection.token)
    }

    func datagramSent(_ connection: ConnectionReference, _ count: Int) {
        connection.lastSent = now
        let size = connection.outbound.completeDatagram(count, chunks)
        if connection.flags.contains(.hasPromises) { connection.sentTotal += size }
        counters.bytesOut.add(count)
        wentOut(connection)
    }

    /// Drops the datagram; the socket can usually continue. An earlier datagram's error, such as a
    /// port without a listener, is reported in place of this send. The datagram is then tried once
    /// more.
    func datagramSendFailed(_ connection: ConnectionReference, _ error: SystemError) {
        if DatagramError.isOldNews(error.number), isSending(connection),
            connection.outbound.tryDatagramAgain()
        {
            return sendMore(connection)
        }
        let size = connection.outbound.dropDatagram(chunks)
        guard !DatagramError.endsSocket(error.number) else {
            return beginClosing(connection, .reset(error))
        }
        counters.datagramDrops.add()
        connection.lastSent = now
        if connection.flags.contains(.hasPromises) { connection.sentTotal += size }
        wentOut(connection)
    }
}
