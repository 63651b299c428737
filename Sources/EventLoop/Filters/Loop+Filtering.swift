/// The wire's bytes of connections with a filter, opened as they arrive.
extension Loop {
    /// Handles bytes of the wire.
    func receivedSealed(_ connection: ConnectionReference, _ bytes: UnsafeRawBufferPointer) {
        guard let state = filter(of: connection), opens(connection, state) else {
            return discard(bytes.count, of: connection)
        }
        guard !state.isInputOver else { return }
        guard !state.isWorking && !state.hasWorked else {
            // Late bytes of a stream that is being stopped.
            return state.held.append(contentsOf: bytes)
        }
        guard state.filter != nil || beginHandshake(connection, state) else {
            return hold(connection, state, bytes)
        }
        openSealed(connection, state, bytes)
    }

    /// Keeps bytes until the handshake's turn. A stream that is being stopped may bring many.
    private func hold(
        _ connection: ConnectionReference, _ state: FilterState, _ bytes: UnsafeRawBufferPointer
    ) {
        guard !state.isInputOver else { return }
        guard state.held.count + bytes.count <= Self.mostHeld else {
            state.held = []
            return filterFailed(connection, state, FilterOverrun())
        }
        state.held.append(contentsOf: bytes)
        updateReading(connection)
    }

    /// Far above a peer's first flight, behind which it waits for ours.
    private static var mostHeld: Int { 32_768 }

    /// Whether the wire's bytes are of use. A connection that was closed in the handshake of an
    /// upgrade, or in the middle of a message, completes it for what is to be sealed behind it.
    private func opens(_ connection: ConnectionReference, _ state: FilterState) -> Bool {
        switch connection.state {
        case .open, .securing: true
        case .finishing:
            state.awaitsInput || (!state.isEstablished && state.secured != nil)
        case .lingering, .closing, .free, .listening, .connecting: false
        }
    }

    func openSealed(
        _ connection: ConnectionReference, _ state: FilterState, _ bytes: UnsafeRawBufferPointer
    ) {
        var rest = bytes[...]
        // The filter may have more: it has filled the memory, or kept bytes behind an event.
        var mayHaveMore = false
        repeat {
            guard opens(connection, state) else {
                discard(rest.count, of: connection)
                break
            }
            guard let filter = state.filter, !state.isInputOver else { break }
            let scratch = openedBytes.memory
            let opened = filter.open(
                UnsafeRawBufferPointer(rebasing: rest), into: scratch, state.output)
            rest = rest.dropFirst(opened.taken)
            mayHaveMore = opened.plain == scratch.count
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
                state.held.append(contentsOf: rest)
                return compute(connection, state, job)
            }
            if case .proxied(let header, let layers) = event {
                let behind = UnsafeRawBufferPointer(rebasing: rest)
                return headerRead(connection, header, behind: layers, behind)
            }
            handle(event, of: connection, state)
            mayHaveMore = true
        } while !rest.isEmpty || mayHaveMore
        if !state.wire.isEmpty || !connection.outbound.isEmpty {
            if handlerWantsPreWrite { sendMore(connection) } else { sendSealed(connection) }
        }
        // For our end, and for a limit of the bytes that a pause keeps.
        if state.awaitsInput { enqueue(connection) }
        // Answers of the filter that the peer does not read.
        if state.unsentCount > 0 && connection.state == .open { judgeSealed(connection) }
    }

    /// The callback for the last bytes may have closed the connection.
    private func handle(
        _ event: FilterEvent, of connection: ConnectionReference, _ state: FilterState
    ) {
        switch event {
        case .working, .proxied: break
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
    func filterFailed(
        _ connection: ConnectionReference, _ state: FilterState, _ error: any Error
    ) {
        if connection.state == .securing { return handshakeFailed(connection, state, error) }
        state.isInputOver = true
        state.isOutputOver = true
        state.awaitsInput = false
        guard connection.state == .open || connection.state == .finishing else { return }
        if state.isEstablished {
            counters.filterFailures.add()
        } else {
            handshakeEnded(state)
            countFailure(error, of: connection)
        }
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
        if isSecuring(connection, state) && connection.state != .securing {
            guard !state.isWorking, !state.hasWorked, !state.isInputOver else { return }
            return filterFailed(connection, state, FilterCutOff())
        }
        switch connection.state {
        case .securing:
            guard !state.isWorking && !state.hasWorked else { return }
            if isCheck(connection, state) { return beginClosing(connection) }
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
        guard state.awaitsInput else { return }
        sendSealed(connection)
        enqueue(connection)
    }

    /// Whether the handler's input is over. For a filtered connection that is not the wire's end.
    @inline(__always)
    package func isInputOver(_ connection: ConnectionReference) -> Bool {
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
    package func cut(of connection: ConnectionReference) -> (any Error)? {
        connection.flags.contains(.filtered) ? filter(of: connection)?.cut : nil
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

/// The peer has sent more than the first flight of a handshake.
struct FilterOverrun: Error, CustomStringConvertible {
    var description: String { "the peer sent more than 32 KiB before the handshake began" }
}

/// The wire has ended in the handshake.
package struct FilterCutOff: Error, CustomStringConvertible {
    package var description: String { "the peer closed the connection during the handshake" }
}

/// The wire or the stream has ended in a message before whose rest nothing can be sealed.
struct FilterUnfinished: Error, CustomStringConvertible {
    var description: String { "the peer ended in the middle of a message" }
}
