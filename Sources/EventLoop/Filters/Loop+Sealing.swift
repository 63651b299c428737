/// The handler's bytes of connections with a filter, sealed as the wire's queue empties.
extension Loop {
    /// The most bytes that are sealed ahead of the kernel. Three whole records of TLS fit into a
    /// chunk.
    private static var sealedAhead: Int { 49_152 }
    /// The number of sends in a row that the kernel takes at once. Then other connections have
    /// their turn.
    private static var sendsInARow: Int { 4 }
    /// The most bytes of one write that are sealed and sent inside that write.
    private static var mostAhead: Int { 16 * sealedAhead }

    /// Seals a large piece from the program's memory, since a copy would be one too many. While the
    /// socket accepts all of it, more than the wire's queue should hold. Returns the rest, which is
    /// gathered as usual.
    @inline(never)
    func sealAhead(
        _ connection: ConnectionReference, _ bytes: UnsafeRawBufferPointer
    ) -> UnsafeRawBufferPointer {
        guard let state = filter(of: connection), let filter = state.filter, state.isEstablished,
            !state.isOutputOver, state.wire.isIdle, mayCompleteAtOnce(connection)
        else { return bytes }
        var rest = bytes[...]
        while !rest.isEmpty && bytes.count - rest.count < Self.mostAhead
            && takesAtOnce(connection, state)
        {
            let piece = rest.prefix(Self.sealedAhead)
            let sealed = filter.seal(UnsafeRawBufferPointer(rebasing: piece), state.output)
            if case .later = sealed { break }
            rest = rest.dropFirst(piece.count)
            if case .failed(let error) = sealed {
                filterFailed(connection, state, error)
                return UnsafeRawBufferPointer(rebasing: rest.prefix(0))
            }
            state.sealedTotal += piece.count
        }
        connection.lastSent = now
        if !state.wire.isEmpty { wrote(connection) }
        return UnsafeRawBufferPointer(rebasing: rest)
    }

    /// Sends the sealed bytes now, as far as the socket accepts them. False if some are left.
    private func takesAtOnce(_ connection: ConnectionReference, _ state: FilterState) -> Bool {
        guard !state.wire.isEmpty else { return true }
        guard let (bytes, count) = state.wire.single else { return false }
        let sent = driver.trySend(
            UnsafeRawBufferPointer(start: bytes, count: count), for: connection.token)
        guard sent > 0, state.wire.nextToSend(chunks) != nil else { return false }
        state.wire.complete(sent, chunks)
        counters.bytesOut.add(sent)
        guard state.wire.isEmpty else { return false }
        state.wireIsEmpty()
        return true
    }

    /// Whether bytes wait to be sent.
    @inline(__always)
    func owes(_ connection: ConnectionReference) -> Bool {
        guard connection.outbound.isEmpty else { return true }
        return connection.flags.contains(.filtered) && owesSealed(connection)
    }

    @inline(never)
    private func owesSealed(_ connection: ConnectionReference) -> Bool {
        filter(of: connection).map { !$0.wire.isEmpty } ?? false
    }

    /// The number of the handler's bytes that are sealed and not sent yet.
    package func sealedCount(_ connection: ConnectionReference) -> Int {
        guard connection.flags.contains(.filtered) else { return 0 }
        return filter(of: connection)?.unsentCount ?? 0
    }

    /// The value that the marks apply to.
    @inline(__always)
    func backlog(_ connection: ConnectionReference) -> Int {
        connection.outbound.backlog &+ sealedCount(connection)
    }

    /// Seals what is unsent, as far as the wire's queue has room, and sends.
    func sendSealed(_ connection: ConnectionReference) {
        guard isSending(connection), let state = filter(of: connection), !state.isWorking else {
            return
        }
        var sends = 0
        while !state.wire.isInFlight {
            seal(connection, state)
            guard isSending(connection), !state.wire.isEmpty else { return }
            sends += 1
            guard sends < Self.sendsInARow, mayCompleteAtOnce(connection),
                let (bytes, count) = state.wire.single
            else {
                guard let bytes = state.wire.nextToSend(chunks) else { return }
                return driver.submit(.send(bytes), for: connection.token)
            }
            guard driver.send(bytes, count, for: connection.token) else {
                return state.wire.singleTookOff()
            }
            state.wire.completeSingle(chunks)
            state.wireIsEmpty()
            connection.lastSent = now
            counters.bytesOut.add(count)
            guard !connection.outbound.isEmpty else { return }
        }
    }

    /// Whether a completed send needs no more than a count.
    private func mayCompleteAtOnce(_ connection: ConnectionReference) -> Bool {
        let needs = ConnectionFlags.needsSent.subtracting([.filtered, .notOpen])
        return connection.flags.isDisjoint(with: needs)
            && (connection.state == .open || connection.state == .securing)
    }

    /// Seals gathered bytes, as far as the wire's queue has room.
    private func seal(_ connection: ConnectionReference, _ state: FilterState) {
        guard state.isEstablished, !state.isOutputOver, let filter = state.filter else { return }
        while state.wire.count < Self.sealedAhead {
            guard !connection.outbound.isEmpty else { return }
            guard let bytes = connection.outbound.nextToSend(chunks) else {
                if let error = connection.outbound.fileError { fileFailed(connection, error) }
                return
            }
            let piece = UnsafeRawBufferPointer(
                rebasing: bytes.prefix(Self.sealedAhead - state.wire.count))
            let sealed = filter.seal(piece, state.output)
            if case .later = sealed {
                connection.outbound.complete(0, chunks)
                return awaitInput(connection, state)
            }
            connection.outbound.complete(piece.count, chunks)
            if state.awaitsInput { inputCame(connection, state) }
            if case .failed(let error) = sealed { return filterFailed(connection, state, error) }
            state.sealedTotal += piece.count
        }
    }

    /// Whether all bytes are sent, and behind them the end of the filter's stream. Seals that end
    /// if it is due. A stream that was cut has none, so that it does not look complete.
    @inline(__always)
    func hasSentAll(_ connection: ConnectionReference) -> Bool {
        guard connection.outbound.isEmpty else { return false }
        return !connection.flags.contains(.filtered) || hasSentAllSealed(connection)
    }

    @inline(never)
    private func hasSentAllSealed(_ connection: ConnectionReference) -> Bool {
        guard let state = filter(of: connection) else { return true }
        // The end of our side waits for the handshake of an upgrade.
        if connection.state == .open && isSecuring(connection, state) { return false }
        if !state.isOutputOver && !connection.flags.contains(.resetsAtEnd) {
            guard sealEnd(connection, state) else { return false }
        }
        if !state.wire.isEmpty { sendSealed(connection) }
        return state.wire.isEmpty
    }

    /// Seals our end. False if it must wait for the rest of the peer's message, if that can come.
    private func sealEnd(_ connection: ConnectionReference, _ state: FilterState) -> Bool {
        if state.isEstablished, let filter = state.filter,
            case .later = filter.sealEnd(state.output), !isInputOver(connection)
        {
            awaitInput(connection, state)
            return false
        }
        state.isOutputOver = true
        if state.awaitsInput { inputCame(connection, state) }
        return true
    }

    // MARK: The peer in the middle of a message

    /// Reads the rest of the peer's message, behind which the loop comes here again.
    @inline(never)
    private func awaitInput(_ connection: ConnectionReference, _ state: FilterState) {
        guard !isInputOver(connection) else {
            return filterFailed(connection, state, FilterUnfinished())
        }
        state.awaitsInput = true
        updateReading(connection)
    }

    @inline(never)
    private func inputCame(_ connection: ConnectionReference, _ state: FilterState) {
        state.awaitsInput = false
        updateReading(connection)
    }

    /// Whether the connection is read even in a pause, as long as not too much of it is kept.
    @inline(never)
    func awaitsInput(_ connection: ConnectionReference) -> Bool {
        guard connection.flags.contains(.filtered), let state = filter(of: connection) else {
            return false
        }
        return state.awaitsInput && connection.inbound.count <= configuration.inboundLimit
    }

    func sealedSent(_ connection: ConnectionReference, _ count: Int) {
        guard let state = filter(of: connection) else { return }
        connection.lastSent = now
        state.wire.complete(count, chunks)
        if state.wire.isEmpty { state.wireIsEmpty() }
        counters.bytesOut.add(count)
        // Sealed bytes are never fewer than the handler's, so no promise is kept too early.
        connection.sentTotal = state.sealedTotal - state.wire.count
        wentOut(connection)
    }

    func sealedSendFailed(_ connection: ConnectionReference, _ error: SystemError) {
        guard let state = filter(of: connection) else { return }
        state.wire.complete(0, chunks)
        state.wire.clear(chunks)
        state.isOutputOver = true
        state.awaitsInput = false
        state.dropsOutput = true
        switch connection.state {
        // The peer may have sent the reason before it closed. The deadline ends the wait for it.
        case .securing: break
        case .open:
            connection.outbound.clear(chunks)
            breakOff(connection, error)
        default: beginClosing(connection, .reset(error))
        }
    }
}
