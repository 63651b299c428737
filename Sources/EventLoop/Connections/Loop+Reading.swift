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
            if connection.pointee.flags.isDisjoint(with: .notReading) {
                tellPeerEnded(connection)
            } else {
                connection.pointee.flags.insert(.endDue)
            }
        case .lingering: beginClosing(connection)
        case .finishing, .closing, .free, .listening, .connecting: break
        }
    }

    func tellPeerEnded(_ connection: ConnectionReference) {
        if connection.pointee.flags.contains(.piped) {
            passOnUnread(connection)
            return pipeEnded(connection)
        }
        guard configuration.allowHalfClosure else {
            close(connection, .peer)
            return attend(connection)
        }
        callback(connection) { try $0.peerEnded(connection) }
        closeIfBothEnded(connection)
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

    func receiveFailed(_ connection: ConnectionReference, _ error: SystemError) {
        connection.pointee.flags.subtract([.receiving, .stopping])
        connection.pointee.flags.insert(.peerEnded)
        if connection.pointee.state != .closing { beginClosing(connection, .reset(error)) }
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
            connection.pointee.flags.insert(.receiving)
            // A peer has as long again as it would have had without the pause.
            connection.pointee.lastReceived = now
            driver.submit(isDatagram ? .receiveDatagrams : .receive, for: connection.pointee.token)
        } else if !isWanted && flags.contains(.receiving) && !flags.contains(.stopping)
            && !flags.contains(.peerEnded)
        {
            connection.pointee.flags.insert(.stopping)
            driver.submit(
                .stop(isDatagram ? .datagrams : .receive), for: connection.pointee.token)
        }
    }

    // MARK: For the public API

    package func pauseReading(_ connection: ConnectionReference) {
        guard connection.pointee.state == .open else { return }
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
