/// The bytes of established connections with a filter: opened as they arrive, sealed as the wire's
/// queue empties.
extension Loop {
    /// The most bytes that are sealed ahead of the kernel. Three whole records of TLS fit into a
    /// chunk.
    private static var sealedAhead: Int { 49_152 }
    /// The number of sends in a row that the kernel takes at once. Then other connections have
    /// their turn.
    private static var sendsInARow: Int { 4 }

    // MARK: From the wire

    /// Handles bytes of the wire.
    func receivedSealed(_ connection: ConnectionReference, _ bytes: UnsafeRawBufferPointer) {
        guard connection.state == .open || connection.state == .securing,
            let state = filter(of: connection)
        else { return discard(bytes.count, of: connection) }
        guard !state.isInputOver else { return }
        guard !state.isWorking && !state.hasWorked else {
            // Late bytes of a stream that is being stopped.
            return connection.inbound.append(bytes)
        }
        guard state.filter != nil || beginHandshake(connection, state) else {
            // Until its turn.
            connection.inbound.append(bytes)
            return updateReading(connection)
        }
        openSealed(connection, state, bytes)
    }

    func openSealed(
        _ connection: ConnectionReference, _ state: FilterState, _ bytes: UnsafeRawBufferPointer
    ) {
        var rest = bytes[...]
        // The filter may have more: `plain` was full, or it has kept bytes behind its handshake.
        var mayHaveMore = false
        repeat {
            guard connection.state == .open || connection.state == .securing else {
                return discard(rest.count, of: connection)
            }
            guard let filter = state.filter, !state.isInputOver else { break }
            let scratch = openedBytes.memory
            let opened = filter.open(
                UnsafeRawBufferPointer(rebasing: rest), into: scratch, state.output)
            rest = rest.dropFirst(opened.taken)
            mayHaveMore = opened.plain > 0
            if opened.plain > 0 {
                deliver(
                    connection, UnsafeRawBufferPointer(rebasing: scratch.prefix(opened.plain)))
            }
            guard let event = opened.event else {
                precondition(
                    opened.taken > 0 || opened.plain > 0 || rest.isEmpty,
                    "a filter without progress")
                continue
            }
            if case .working(let job) = event {
                connection.inbound.append(UnsafeRawBufferPointer(rebasing: rest))
                return compute(connection, state, job)
            }
            handle(event, of: connection, state)
            mayHaveMore = true
        } while !rest.isEmpty || mayHaveMore
        sendSealed(connection)
        // Answers of the filter that the peer does not read.
        if state.unsentCount > 0 && connection.state == .open { judgeSealed(connection) }
    }

    /// The callback for the last bytes may have closed the connection.
    private func handle(
        _ event: FilterEvent, of connection: ConnectionReference, _ state: FilterState
    ) {
        switch event {
        case .working: break
        case .established: established(connection, state)
        case .ended:
            state.isInputOver = true
            guard connection.state == .open else { return }
            endOfInput(connection)
            if !connection.flags.contains(.queued) { updateReading(connection) }
        case .failed(let error): filterFailed(connection, state, error)
        }
    }

    /// Handles a stream that became useless. The filter's last bytes tell the peer; unsealed bytes
    /// are dropped.
    private func filterFailed(
        _ connection: ConnectionReference, _ state: FilterState, _ error: any Error
    ) {
        if connection.state == .securing { return handshakeFailed(connection, state, error) }
        state.isInputOver = true
        state.isOutputOver = true
        guard connection.state == .open || connection.state == .finishing else { return }
        counters.filterFailures.add()
        connection.outbound.clear(chunks)
        close(connection, .filter(error))
        enqueue(connection)
    }

    /// Handles the end of the wire. Without the end of the stream it is a cut, after which unread
    /// input is still shown and output still sent.
    func wireEnded(_ connection: ConnectionReference) {
        if connection.state == .lingering { return beginClosing(connection) }
        if let state = filter(of: connection) { wireEnded(connection, state) }
    }

    func wireEnded(_ connection: ConnectionReference, _ state: FilterState) {
        switch connection.state {
        case .securing:
            guard !state.isWorking && !state.hasWorked else { return }
            handshakeFailed(connection, state, FilterCutOff())
        case .open:
            if !state.isInputOver {
                state.isInputOver = true
                state.cut = state.filter?.cutOff()
                endOfInput(connection)
            }
            if !connection.flags.contains(.queued) { updateReading(connection) }
        case .finishing, .lingering, .closing, .free, .listening, .connecting: break
        }
    }

    /// Whether the handler's input is over. For a filtered connection that is not the wire's end.
    @inline(__always)
    func isInputOver(_ connection: ConnectionReference) -> Bool {
        guard connection.flags.isDisjoint(with: [.peerEnded, .filtered]) else {
            return isInputOverSlow(connection)
        }
        return false
    }

    @inline(never)
    private func isInputOverSlow(_ connection: ConnectionReference) -> Bool {
        connection.flags.contains(.peerEnded) || filter(of: connection)?.isInputOver == true
    }

    /// The error of a wire that ended before the peer's stream.
    @inline(__always)
    func cut(of connection: ConnectionReference) -> (any Error)? {
        connection.flags.contains(.filtered) ? filter(of: connection)?.cut : nil
    }

    // MARK: To the wire

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
        }
    }

    /// Whether a completed send needs no more than a count.
    private func mayCompleteAtOnce(_ connection: ConnectionReference) -> Bool {
        let needs = ConnectionFlags.needsSent.subtracting([.filtered, .notOpen])
        return connection.flags.isDisjoint(with: needs)
            && (connection.state == .open || connection.state == .securing)
    }

    private func seal(_ connection: ConnectionReference, _ state: FilterState) {
        guard state.isEstablished, !state.isOutputOver, let filter = state.filter else { return }
        while state.wire.count < Self.sealedAhead {
            guard let bytes = connection.outbound.nextToSend(chunks) else {
                if let error = connection.outbound.fileError { fileFailed(connection, error) }
                return
            }
            let piece = UnsafeRawBufferPointer(
                rebasing: bytes.prefix(Self.sealedAhead - state.wire.count))
            let sealed = filter.seal(piece, state.output)
            if case .later = sealed {
                // The next input brings the loop here again.
                return connection.outbound.complete(0, chunks)
            }
            connection.outbound.complete(piece.count, chunks)
            state.sealedTotal += piece.count
            if case .failed(let error) = sealed { return filterFailed(connection, state, error) }
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
        if !state.isOutputOver && !connection.flags.contains(.resetsAtEnd) {
            state.isOutputOver = true
            if state.isEstablished { state.filter?.sealEnd(state.output) }
        }
        if !state.wire.isEmpty { sendSealed(connection) }
        return state.wire.isEmpty
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

    /// Ends the connection's use of its filter. The driver may still use the sealed bytes.
    @inline(never)
    func leaveFilter(_ connection: ConnectionReference) {
        guard let state = filter(of: connection) else { return }
        handshakeEnded(state)
        if state.wire.isInFlight { leavingFilters[connection.token] = state }
    }

    /// Called when the driver no longer uses the sealed bytes.
    @inline(never)
    func forgetFilter(_ connection: ConnectionReference) {
        leavingFilters.removeValue(forKey: connection.token)
    }
}

/// The wire has ended in the handshake.
package struct FilterCutOff: Error, CustomStringConvertible {
    package var description: String { "the peer closed the connection during the handshake" }
}

/// The memory for a loop's opened bytes, made with the first of them: one receive, and the record
/// that it completes.
struct OpenedBytes: ~Copyable {
    private static var capacity: Int { 160 << 10 }
    private var storage: UnsafeMutableRawBufferPointer?

    var memory: UnsafeMutableRawBufferPointer {
        mutating get {
            if let storage { return storage }
            let made = UnsafeMutableRawBufferPointer.allocate(
                byteCount: Self.capacity, alignment: 64)
            storage = made
            return made
        }
    }

    deinit { storage?.deallocate() }
}
