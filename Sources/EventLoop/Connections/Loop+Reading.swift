/// What comes from a peer: bytes, its end, and when neither is wanted.

extension Loop {
    /// Whatever is not fresh input for a handler that has read all before it.
    @usableFromInline
    @inline(never)
    func receivedRest(
        _ connection: ConnectionReference, _ bytes: UnsafeRawBufferPointer
    ) {
        guard connection.pointee.state == .open else {
            return discard(bytes.count, of: connection)
        }
        if connection.pointee.flags.contains(.piped) {
            passOnUnread(connection)
            return passOn(connection, bytes)
        }
        if !connection.pointee.flags.isDisjoint(with: .notReading) {
            // Late bytes of a stream that is being stopped: kept in order, told after the pause.
            connection.pointee.inbound.append(bytes)
            connection.pointee.flags.insert(.trafficDue)
            return
        }
        if connection.pointee.inbound.count == 0 {
            connection.pointee.inbound.lend(bytes)
        } else {
            connection.pointee.inbound.append(bytes)
        }
        // What was due for kept bytes is this call, which shows them too.
        connection.pointee.flags.remove(.trafficDue)
        callback(connection) { try $0.traffic(connection) }
    }

    /// Once ours has ended, the peer's input is only read so that no reset destroys our last bytes.
    private func discard(_ count: Int, of connection: ConnectionReference) {
        connection.pointee.discarded += count
        if connection.pointee.state == .lingering
            && connection.pointee.discarded > configuration.lingerLimit
        {
            beginClosing(connection)
        }
    }

    func peerEnded(_ connection: ConnectionReference) {
        connection.pointee.flags.subtract([.receiving, .stopping])
        connection.pointee.flags.insert(.peerEnded)
        switch connection.pointee.state {
        case .open:
            endOfInput(connection)
            if !connection.pointee.flags.contains(.queued) { updateReading(connection) }
        case .lingering: beginClosing(connection)
        case .finishing, .closing, .free, .listening, .connecting: break
        }
    }

    /// Told when everything before it has been shown.
    private func endOfInput(_ connection: ConnectionReference) {
        let waits = ConnectionFlags.notReading.union(.trafficDue)
        if connection.pointee.flags.isDisjoint(with: waits) {
            tellPeerEnded(connection)
        } else {
            connection.pointee.flags.insert(.endDue)
            enqueue(connection)
        }
    }

    func tellPeerEnded(_ connection: ConnectionReference) {
        if connection.pointee.flags.contains(.piped) { passOnUnread(connection) }
        if connection.pointee.flags.contains(.broken) { return endBroken(connection) }
        if connection.pointee.flags.contains(.piped) { return pipeEnded(connection) }
        if configuration.allowHalfClosure {
            callback(connection) { try $0.peerEnded(connection) }
            return closeIfBothEnded(connection)
        }
        // An answer is owed to a peer that has only ended its side, or what a pipe still brings.
        if isWorking(connection) { return awaitWork(connection) }
        if isFed(connection) {
            connection.pointee.flags.insert(.endDue)
            return endSources(of: connection)
        }
        close(connection, .peer)
        attend(connection)
    }

    /// The end closes when the work is done. A handler that says it is busy may be waiting for
    /// input that will not come, so it is told.
    private func awaitWork(_ connection: ConnectionReference) {
        connection.pointee.flags.insert(.endDue)
        guard isBusy(connection), !connection.pointee.flags.contains(.endShown) else { return }
        connection.pointee.flags.insert(.endShown)
        callback(connection) { try $0.peerEnded(connection) }
    }

    /// With half-closure a connection lives until both sides have ended.
    func closeIfBothEnded(_ connection: ConnectionReference) {
        guard connection.pointee.state == .open,
            connection.pointee.flags.isSuperset(of: [.peerEnded, .writeEnded]),
            !connection.pointee.flags.contains(.endDue)
        else { return }
        close(connection, .peer)
        if depth == 0 { attend(connection) }
    }

    /// Nothing more will come. What has come is shown first.
    func receiveFailed(_ connection: ConnectionReference, _ error: SystemError) {
        connection.pointee.flags.subtract([.receiving, .stopping])
        if connection.pointee.flags.contains(.datagrams) {
            return datagramReceiveFailed(connection, error)
        }
        connection.pointee.flags.insert(.peerEnded)
        switch connection.pointee.state {
        case .open:
            connection.pointee.flags.insert(.endDue)
            breakOff(connection, error)
        case .finishing, .lingering: beginClosing(connection, .reset(error))
        case .closing, .free, .listening, .connecting: break
        }
    }

    // MARK: Broken connections

    /// Both directions are over by an error. Nothing more can be sent. What the peer had sent
    /// before is still read and shown, although reading was paused, and then the connection closes
    /// with that error.
    func breakOff(_ connection: ConnectionReference, _ error: SystemError) {
        guard let details = connection.pointee.details?.takeUnretainedValue() else { return }
        if details.cause == nil { details.cause = .reset(error) }
        // What our own pause has kept a handler from taking was not shown to it for that.
        let wasPausedByUs = !connection.pointee.flags.isDisjoint(with: [.throttled, .workFull])
        if wasPausedByUs { showUnread(connection) }
        connection.pointee.flags.insert([.broken, .writeEnded, .endSent, .congested])
        connection.pointee.flags.subtract(.pauses)
        connection.pointee.lastSent = now
        armTimer(connection)
        failAwaitedSends(connection, .reset(error))
        reliefForPipe(connection)
        updateReading(connection)
        // Nothing more will be told of a peer whose end was told already.
        let hasEnded = connection.pointee.flags.contains(.peerEnded)
        if hasEnded { connection.pointee.flags.insert(.endDue) }
        enqueue(connection)
    }

    private func endBroken(_ connection: ConnectionReference) {
        close(connection, .peer)
        attend(connection)
    }

    /// Noticed although nothing was received: a reset, or the end of both sides, which is none.
    func hungUp(_ connection: ConnectionReference, _ number: Int32) {
        // Without an error nothing more can be noticed, and it stays marked as watched.
        guard connection.pointee.state == .open, number != 0 else { return }
        connection.pointee.flags.remove(.watching)
        breakOff(connection, SystemError(number, "recv"))
    }

    /// A connection that is not read would never notice that its peer is gone; nor one that waits
    /// for our answer after the peer's end.
    private func watch(_ connection: ConnectionReference) {
        guard connection.pointee.flags.isDisjoint(with: [.watching, .datagrams, .broken]),
            !connection.pointee.flags.isDisjoint(with: ConnectionFlags.pauses.union(.peerEnded))
        else { return }
        connection.pointee.flags.insert(.watching)
        driver.submit(.watch, for: connection.pointee.token)
    }

    func receiveStopped(_ connection: ConnectionReference) {
        connection.pointee.flags.subtract([.receiving, .stopping])
        updateReading(connection)
    }

    /// Starts or stops the receive stream, whichever the connection's state now asks for. A stream
    /// that is being stopped is started again only after its last word.
    func updateReading(_ connection: ConnectionReference) {
        let flags = connection.pointee.flags
        let isWanted: Bool
        switch connection.pointee.state {
        case .open:
            isWanted = flags.isDisjoint(with: ConnectionFlags.notReading.union(.peerEnded))
        case .finishing, .lingering: isWanted = !flags.contains(.peerEnded)
        case .closing, .free, .listening, .connecting: return
        }
        let isDatagram = flags.contains(.datagrams)
        if isWanted && !flags.contains(.receiving) {
            // What is unread is shown first, which may be a reason not to read.
            guard !flags.contains(.trafficDue) else { return enqueue(connection) }
            if isDatagram && isReceiveHeldBack(connection) { return }
            connection.pointee.flags.insert(.receiving)
            connection.pointee.flags.remove(.watching)
            // A peer has as long again as it would have had without the pause.
            connection.pointee.lastReceived = now
            driver.submit(isDatagram ? .receiveDatagrams : .receive, for: connection.pointee.token)
        } else if !isWanted && flags.contains(.receiving) && !flags.contains(.stopping)
            && !flags.contains(.peerEnded)
        {
            connection.pointee.flags.insert(.stopping)
            driver.submit(
                .stop(isDatagram ? .datagrams : .receive), for: connection.pointee.token)
        } else if !isWanted && !flags.contains(.receiving) && connection.pointee.state == .open {
            watch(connection)
        }
    }

    /// The library no longer pauses reading: the handler is called for what it has left unread,
    /// and only then more is asked for.
    func showUnread(_ connection: ConnectionReference) {
        if connection.pointee.inbound.count > 0 { connection.pointee.flags.insert(.trafficDue) }
        enqueue(connection)
    }

    // MARK: For the public API

    package func pauseReading(_ connection: ConnectionReference) {
        guard connection.pointee.state == .open, !connection.pointee.flags.contains(.broken)
        else { return }
        connection.pointee.flags.insert(.paused)
        updateReading(connection)
    }

    package func resumeReading(_ connection: ConnectionReference) {
        guard connection.pointee.state == .open,
            connection.pointee.flags.contains(.paused)
        else { return }
        connection.pointee.flags.remove(.paused)
        updateReading(connection)
        // Bytes or an end that came meanwhile are told from the loop, not from inside this call.
        enqueue(connection)
    }

    package func wake(_ connection: ConnectionReference) {
        guard connection.pointee.state == .open else { return }
        connection.pointee.flags.insert(.wakeDue)
        enqueue(connection)
    }

    // MARK: Taking unread bytes

    /// The first `count` unread bytes in one piece, or nil if fewer are there. They stay valid
    /// until the running callback has returned, whatever is called meanwhile.
    package func peek(
        _ connection: ConnectionReference, _ count: Int
    ) -> UnsafeRawBufferPointer? {
        guard count >= 0, count <= connection.pointee.inbound.count else { return nil }
        if count > connection.pointee.inbound.front.count {
            connection.pointee.inbound.merge(&retired)
        }
        return UnsafeRawBufferPointer(
            start: connection.pointee.inbound.front.baseAddress, count: count)
    }

    /// As `peek`, and takes them.
    package func take(
        _ connection: ConnectionReference, _ count: Int
    ) -> UnsafeRawBufferPointer? {
        guard let bytes = peek(connection, count) else { return nil }
        consume(connection, count)
        return bytes
    }

    @inlinable
    @inline(__always)
    package func takeAll(_ connection: ConnectionReference) -> UnsafeRawBufferPointer {
        guard connection.pointee.inbound.isLent, !connection.pointee.flags.contains(.awaiting)
        else { return takeAllKept(connection) }
        if !isCurrent(connection) { enqueue(connection) }
        return connection.pointee.inbound.takeLent()
    }

    @usableFromInline
    @inline(never)
    func takeAllKept(_ connection: ConnectionReference) -> UnsafeRawBufferPointer {
        if connection.pointee.inbound.isWrapped { connection.pointee.inbound.merge(&retired) }
        let bytes = connection.pointee.inbound.front
        consume(connection, bytes.count)
        return bytes
    }

    @inline(__always)
    package func consume(_ connection: ConnectionReference, _ count: Int) {
        connection.pointee.inbound.consume(count)
        connection.pointee.flags.remove(.awaiting)
        // Outside its own callback nobody else would give the memory back.
        if !isCurrent(connection) { enqueue(connection) }
    }

    /// The handler cannot go on before `count` bytes are there: the inbound cap makes room for
    /// them.
    package func await(_ connection: ConnectionReference, _ count: Int) {
        connection.pointee.awaited = count
        connection.pointee.flags.insert(.awaiting)
    }
}
