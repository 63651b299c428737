/// A connected datagram socket: a connection whose pieces have bounds, and which an error seldom
/// ends.
extension Loop {
    /// A receive that failed is tried again at once, but if others have failed just before only
    /// after this time.
    private static var receiveRetryTime: Nanoseconds { 20_000_000 }

    /// One `onTraffic` for each; what the handler left of the one before is gone, as with any
    /// datagram.
    func receivedDatagram(
        _ connection: ConnectionReference, _ bytes: UnsafeRawBufferPointer
    ) {
        connection.pointee.lastReceived = now
        port.counters.datagramsIn.add()
        port.counters.bytesIn.add(bytes.count)
        guard connection.pointee.state == .open else { return }
        if connection.pointee.flags.contains(.piped) { return passOn(connection, bytes) }
        connection.pointee.inbound.release()
        if !connection.pointee.flags.isDisjoint(with: .notReading) {
            // Only the last one is kept through a pause, as if the socket had room for one.
            if connection.pointee.flags.contains(.trafficDue) { port.counters.datagramDrops.add() }
            connection.pointee.inbound.append(bytes)
            connection.pointee.flags.insert(.trafficDue)
            return setHoldsEmptyDatagram(connection, bytes.count == 0)
        }
        connection.pointee.inbound.lend(bytes)
        if bytes.count == 0 { setHoldsEmptyDatagram(connection, true) }
        callback(connection) { try $0.traffic(connection) }
        if bytes.count == 0 { setHoldsEmptyDatagram(connection, false) }
        if connection.pointee.state == .open { connection.pointee.inbound.release() }
    }

    func setHoldsEmptyDatagram(_ connection: ConnectionReference, _ holds: Bool) {
        connection.pointee.details?.takeUnretainedValue().holdsEmptyDatagram = holds
    }

    /// An empty datagram that is shown now, or came during a pause. Only once: whoever has taken it
    /// passes it on.
    package func takeEmptyDatagram(_ connection: ConnectionReference) -> Bool {
        guard let details = connection.pointee.details?.takeUnretainedValue(),
            details.holdsEmptyDatagram
        else { return false }
        details.holdsEmptyDatagram = false
        return true
    }

    /// Whatever is not the socket's end is the loss of a datagram. One error may come again with
    /// each try, so there is time between them.
    func datagramReceiveFailed(_ connection: ConnectionReference, _ error: SystemError) {
        guard let details = connection.pointee.details?.takeUnretainedValue() else { return }
        switch connection.pointee.state {
        case .finishing
        where !DatagramError.endsSocket(error.number) && !connection.pointee.outbound.isEmpty:
            // What waits to go out is not lost with it.
            port.counters.datagramDrops.add()
        case .open where DatagramError.endsSocket(error.number), .finishing, .lingering:
            connection.pointee.flags.insert(.peerEnded)
            beginClosing(connection, .reset(error))
        case .open:
            port.counters.datagramDrops.add()
            let failed = details.receiveFailed
            let since = failed == 0 ? .max : now - failed
            details.receiveFailed = now
            // Twice that, so that it stays a rest when each try fails at once.
            details.holdsReceiving = since < 2 * Self.receiveRetryTime
            guard details.holdsReceiving else { return updateReading(connection) }
            timers.schedule(
                at: now + Self.receiveRetryTime, .receiveAgain(connection.pointee.token))
        case .closing, .free, .listening, .connecting: break
        }
    }

    /// It has failed to receive, and waits.
    func isReceiveHeldBack(_ connection: ConnectionReference) -> Bool {
        guard let details = connection.pointee.details?.takeUnretainedValue() else { return false }
        return details.holdsReceiving && now < details.receiveFailed + Self.receiveRetryTime
    }

    // MARK: Sending

    /// An empty write: nothing on a stream, and an empty datagram if nothing joins it.
    @inline(never)
    package func writeNothing(_ connection: ConnectionReference) {
        guard connection.pointee.flags.contains(.datagrams), acceptsWrites(connection) else {
            return
        }
        precondition(
            !connection.pointee.flags.contains(.reserving),
            "a write inside write(reserving:) on the same connection")
        separate(connection)
        if connection.pointee.outbound.isEmpty { connection.pointee.lastSent = now }
        connection.pointee.outbound.gather(UnsafeRawBufferPointer(start: nil, count: 0), chunks)
        wrote(connection)
    }

    /// What is written inside `body` goes out as one piece: of a datagram socket it is a datagram
    /// of its own, whatever was written before and will be after it. `tell` as with `write`.
    package func writeWhole(
        _ connection: ConnectionReference, tell: SendResult? = nil, _ body: () -> Void
    ) {
        guard let details = connection.pointee.details?.takeUnretainedValue(),
            acceptsWrites(connection)
        else {
            tell?(.local)
            return
        }
        endDatagram(connection)
        body()
        if let tell { promise(connection, details, tell) }
        endDatagram(connection)
    }

    /// What another callback or closure has gathered is a datagram of its own.
    func separate(_ connection: ConnectionReference) {
        // What `preWrite` adds belongs to what it was asked about.
        guard !connection.pointee.flags.contains(.preWriting) else { return }
        if connection.pointee.discarded != entry { endDatagram(connection) }
        // Only now: that may have called the handler.
        connection.pointee.discarded = entry
    }

    /// Names the running callback or closure: each moves one of these on.
    private var entry: Int {
        counters.bytesIn.current &+ counters.datagramsIn.current &+ closureCount
    }

    /// What is gathered is a datagram: nothing joins it. Nothing on a stream.
    package func endDatagram(_ connection: ConnectionReference) {
        if connection.pointee.flags.isSuperset(of: [.datagrams, .dirty]) { flush(connection) }
    }

    /// Sends what is gathered, or what waits before it.
    func sendNextDatagram(_ connection: ConnectionReference) {
        connection.pointee.outbound.seal()
        // It counts for more than its bytes only now.
        judgeBacklog(connection)
        guard let bytes = connection.pointee.outbound.takeOffDatagram(chunks) else { return }
        driver.submit(.send(bytes), for: connection.pointee.token)
    }

    func datagramSent(_ connection: ConnectionReference, _ count: Int) {
        connection.pointee.lastSent = now
        connection.pointee.sentTotal += connection.pointee.outbound.completeDatagram(count, chunks)
        port.counters.bytesOut.add(count)
        wentOut(connection)
    }

    /// It is lost, and the socket seldom is. But news of an earlier one, that nobody was there for
    /// example, the kernel tells instead of sending: then this one has a turn of its own.
    func datagramSendFailed(_ connection: ConnectionReference, _ error: SystemError) {
        if DatagramError.isOldNews(error.number), isSending(connection),
            connection.pointee.outbound.tryDatagramAgain()
        {
            return sendNextDatagram(connection)
        }
        let size = connection.pointee.outbound.dropDatagram(chunks)
        guard !DatagramError.endsSocket(error.number) else {
            return beginClosing(connection, .reset(error))
        }
        port.counters.datagramDrops.add()
        connection.pointee.lastSent = now
        connection.pointee.sentTotal += size
        wentOut(connection)
    }
}
