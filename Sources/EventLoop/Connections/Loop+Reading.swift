/// A peer's input: bytes, its end, and pauses in which neither is read.

extension Loop {
    /// Handles all input except fresh bytes for a handler that has read everything before.
    @usableFromInline
    @inline(never)
    func receivedSlow(
        _ connection: ConnectionReference, _ bytes: UnsafeRawBufferPointer
    ) {
        guard !connection.flags.contains(.filtered) else {
            return receivedSealed(connection, bytes)
        }
        deliver(connection, bytes)
    }

    /// Shows the handler its bytes, or keeps them.
    func deliver(_ connection: ConnectionReference, _ bytes: UnsafeRawBufferPointer) {
        guard connection.state == .open else {
            return discard(bytes.count, of: connection)
        }
        if connection.flags.contains(.piped) {
            passOnUnread(connection)
            return passOn(connection, bytes)
        }
        if !connection.pauses.isEmpty {
            // Late bytes of a stream that is being stopped: kept in order, shown after the pause.
            connection.inbound.append(bytes)
            connection.flags.insert(.trafficDue)
            return
        }
        if connection.inbound.count == 0 {
            connection.inbound.lend(bytes)
        } else {
            connection.inbound.append(bytes)
        }
        // This call also shows kept bytes, for which `onTraffic` was due.
        connection.flags.remove(.trafficDue)
        callback(connection) { try $0.traffic(connection) }
    }

    /// Counts discarded input. After our end, input is read only so that no reset destroys our last
    /// bytes.
    func discard(_ count: Int, of connection: ConnectionReference) {
        connection.discarded += count
        if connection.state == .lingering
            && connection.discarded > configuration.lingerLimit
        {
            beginClosing(connection)
        }
    }

    func peerEnded(_ connection: ConnectionReference) {
        connection.flags.subtract([.receiving, .stopping])
        connection.flags.insert(.peerEnded)
        if connection.flags.contains(.filtered) { return wireEnded(connection) }
        switch connection.state {
        case .open:
            endOfInput(connection)
            if !connection.flags.contains(.queued) { updateReading(connection) }
        case .lingering: beginClosing(connection)
        case .finishing, .closing, .free, .listening, .connecting, .securing: break
        }
    }

    /// Reports the peer's end after all input before it has been shown.
    func endOfInput(_ connection: ConnectionReference) {
        if connection.pauses.isEmpty && !connection.flags.contains(.trafficDue) {
            tellPeerEnded(connection)
        } else {
            connection.flags.insert(.endDue)
            enqueue(connection)
        }
    }

    func tellPeerEnded(_ connection: ConnectionReference) {
        if connection.flags.contains(.piped) { passOnUnread(connection) }
        if connection.flags.contains(.broken) { return endBroken(connection) }
        if let cut = cut(of: connection) { return endCut(connection, cut) }
        if connection.flags.contains(.piped) { return pipeEnded(connection) }
        if configuration.allowHalfClosure {
            callback(connection) { try $0.peerEnded(connection) }
            return closeIfBothEnded(connection)
        }
        // A peer that has only ended its side still waits for an answer, or for a pipe's bytes.
        if isWorking(connection) { return deferEnd(connection) }
        if isFed(connection) {
            connection.flags.insert(.endDue)
            return endSources(of: connection)
        }
        close(connection, .peer)
        process(connection)
    }

    /// Keeps the end until the work is done. A busy handler may wait for input that will not come,
    /// so it is notified.
    private func deferEnd(_ connection: ConnectionReference) {
        connection.flags.insert(.endDue)
        guard isBusy(connection), let details = connection.details?.takeUnretainedValue(),
            !details.isEndShown
        else { return }
        details.isEndShown = true
        callback(connection) { try $0.peerEnded(connection) }
    }

    /// Closes a connection with half-closure once both sides have ended. A filter may still hold
    /// bytes behind the end of its wire.
    func closeIfBothEnded(_ connection: ConnectionReference) {
        guard connection.state == .open, connection.flags.contains(.writeEnded),
            isInputOver(connection), !connection.flags.contains(.endDue),
            filter(of: connection)?.isInputOver != false,
            !isBusy(connection) || connection.inbound.count == 0
        else { return }
        close(connection, .peer)
        if depth == 0 { process(connection) }
    }

    /// Handles a failed receive: no more input will come. Earlier input is shown first.
    func receiveFailed(_ connection: ConnectionReference, _ error: SystemError) {
        connection.flags.subtract([.receiving, .stopping])
        if connection.flags.contains(.datagrams) {
            return datagramReceiveFailed(connection, error)
        }
        connection.flags.insert(.peerEnded)
        switch connection.state {
        case .open:
            connection.flags.insert(.endDue)
            breakOff(connection, error)
        case .securing: receiveFailedInHandshake(connection, error)
        case .finishing, .lingering: beginClosing(connection, .reset(error))
        case .closing, .free, .listening, .connecting: break
        }
    }

    // MARK: Broken connections

    /// Handles an error that ends both directions: no more bytes can be sent. Input from before the
    /// error is still read and shown, even during a pause. Then the connection closes with that
    /// error.
    func breakOff(_ connection: ConnectionReference, _ error: SystemError) {
        guard let details = connection.details?.takeUnretainedValue() else { return }
        if details.cause == nil { details.cause = .reset(error) }
        // Unread bytes were not shown because the library itself had paused reading.
        let wasPausedByUs = !connection.pauses.isDisjoint(with: [.output, .work])
        if wasPausedByUs { showUnread(connection) }
        connection.flags.insert([.broken, .writeEnded, .endSent, .congested])
        connection.pauses.subtract(.unbounded)
        connection.lastSent = now
        armTimer(connection)
        failPromises(connection, .reset(error))
        reliefForPipe(connection)
        updateReading(connection)
        // After a peer's end no further event will come.
        if isInputOver(connection) { connection.flags.insert(.endDue) }
        enqueue(connection)
        // A task that waits for room waits in vain.
        guard details.hasTask, connection.state == .open else { return }
        callback(connection) { try $0.writable(connection) }
    }

    /// Closes a broken connection. A handler has been shown all input by now. A task may have had
    /// no turn yet: it keeps its unread bytes as long as it works. When it has consumed some, or
    /// waits for more, the connection comes here again.
    private func endBroken(_ connection: ConnectionReference) {
        guard !hasTask(connection) || !isBusy(connection) || connection.inbound.count == 0 else {
            connection.flags.insert(.endDue)
            return
        }
        close(connection, .peer)
        process(connection)
    }

    func hasTask(_ connection: ConnectionReference) -> Bool {
        connection.details?._withUnsafeGuaranteedRef { $0.hasTask } == true
    }

    /// Closes after a wire that ended before the peer's stream. Our own stream is whole, so what is
    /// written is still sent.
    private func endCut(_ connection: ConnectionReference, _ cut: any Error) {
        if isWorking(connection) { return deferEnd(connection) }
        close(connection, .filter(cut))
        process(connection)
    }

    /// Handles a hang-up without a receive: a reset, or the end of both sides, which has no error.
    func hungUp(_ connection: ConnectionReference, _ number: Int32) {
        // Without an error no further event can come, so the connection stays marked as watched.
        guard connection.state == .open, number != 0 else { return }
        connection.flags.remove(.watching)
        breakOff(connection, SystemError(number, "recv"))
    }

    /// Watches a connection that is not read, or whose peer has ended its side and waits for an
    /// answer. Otherwise the loss of the peer would go unnoticed.
    private func watch(_ connection: ConnectionReference) {
        guard connection.flags.isDisjoint(with: [.watching, .datagrams, .broken]),
            !connection.pauses.isDisjoint(with: .unbounded) || isInputOver(connection)
        else { return }
        connection.flags.insert(.watching)
        driver.submit(.watch, for: connection.token)
    }

    func receiveStopped(_ connection: ConnectionReference) {
        connection.flags.subtract([.receiving, .stopping])
        updateReading(connection)
    }

    /// Starts or stops the receive stream, according to the connection's state. A stopped stream is
    /// started again only after its last completion.
    func updateReading(_ connection: ConnectionReference) {
        let flags = connection.flags
        let isWanted: Bool
        switch connection.state {
        case .open where isUpgrading(connection), .finishing where isUpgrading(connection):
            isWanted = !flags.contains(.peerEnded) && isFilterReady(connection)
        case .open:
            isWanted =
                (connection.pauses.isEmpty || awaitsInput(connection)) && !isInputOver(connection)
        case .securing: isWanted = !flags.contains(.peerEnded) && isFilterReady(connection)
        case .finishing, .lingering: isWanted = !flags.contains(.peerEnded)
        case .closing, .free, .listening, .connecting: return
        }
        let isDatagram = flags.contains(.datagrams)
        if isWanted && !flags.contains(.receiving) {
            // Unread bytes are shown first, which may cause another pause. In a pause they wait.
            guard !flags.contains(.trafficDue) || !connection.pauses.isEmpty else {
                return enqueue(connection)
            }
            if isDatagram && isReceiveHeldBack(connection) { return }
            connection.flags.insert(.receiving)
            connection.flags.remove(.watching)
            // After a pause the read time-out starts anew.
            connection.lastReceived = now
            driver.submit(isDatagram ? .receiveDatagrams : .receive, for: connection.token)
        } else if !isWanted && flags.contains(.receiving) && !flags.contains(.stopping)
            && !flags.contains(.peerEnded)
        {
            connection.flags.insert(.stopping)
            driver.submit(
                .stop(isDatagram ? .datagrams : .receive), for: connection.token)
        } else if !isWanted && !flags.contains(.receiving) && connection.state == .open {
            watch(connection)
        }
    }

    /// Called when the library no longer pauses reading. The handler is called for its unread bytes
    /// before more are read.
    func showUnread(_ connection: ConnectionReference) {
        if connection.inbound.count > 0 { connection.flags.insert(.trafficDue) }
        enqueue(connection)
    }

    // MARK: For the public API

    package func pauseReading(_ connection: ConnectionReference) {
        guard connection.state == .open, !connection.flags.contains(.broken)
        else { return }
        connection.pauses.insert(.handler)
        updateReading(connection)
    }

    package func resumeReading(_ connection: ConnectionReference) {
        guard connection.state == .open,
            connection.pauses.contains(.handler)
        else { return }
        connection.pauses.remove(.handler)
        updateReading(connection)
        // Bytes or an end from the pause are shown by the loop, not inside this call.
        enqueue(connection)
    }

    package func wake(_ connection: ConnectionReference) {
        guard connection.state == .open else { return }
        connection.flags.insert(.wakeDue)
        enqueue(connection)
    }

    // MARK: Reading unread bytes

    /// The first `count` unread bytes in one piece, or nil if there are fewer. They stay valid
    /// until the running callback has returned, regardless of other calls.
    package func peek(
        _ connection: ConnectionReference, _ count: Int
    ) -> UnsafeRawBufferPointer? {
        guard count >= 0, count <= connection.inbound.count else { return nil }
        if count > connection.inbound.front.count {
            connection.inbound.merge(&retired)
        }
        return UnsafeRawBufferPointer(
            start: connection.inbound.front.baseAddress, count: count)
    }

    /// Like `peek`, and consumes the bytes.
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
        guard connection.inbound.isLent, !connection.flags.contains(.expectingInput)
        else { return takeAllKept(connection) }
        if !isCurrent(connection) { enqueue(connection) }
        return connection.inbound.takeLent()
    }

    @usableFromInline
    @inline(never)
    func takeAllKept(_ connection: ConnectionReference) -> UnsafeRawBufferPointer {
        if connection.inbound.isWrapped { connection.inbound.merge(&retired) }
        let bytes = connection.inbound.front
        consume(connection, bytes.count)
        return bytes
    }

    @inline(__always)
    package func consume(_ connection: ConnectionReference, _ count: Int) {
        connection.inbound.consume(count)
        connection.flags.remove(.expectingInput)
        // Outside its own callback no other code would free the memory.
        if !isCurrent(connection) { enqueue(connection) }
    }

    /// Notes that the handler needs `count` bytes to continue: the inbound cap makes room for them.
    package func expectInput(_ connection: ConnectionReference, _ count: Int) {
        guard count > configuration.inboundLimit else {
            connection.flags.remove(.expectingInput)
            return
        }
        connection.expectedInput = count
        connection.flags.insert(.expectingInput)
    }
}
