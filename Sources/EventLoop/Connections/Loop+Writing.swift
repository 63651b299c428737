/// A connection's output: gathered in a callback, sent when it ends, the rest as the peer reads.

extension Loop {
    /// Gathers bytes, which are sent when the callback ends. Copies once and never blocks. Ignored
    /// after a close.
    package func write(_ connection: ConnectionReference, _ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return writeNothing(connection) }
        write(connection, start, bytes.count)
    }

    /// Like `write`, but for a pointer and a count.
    @usableFromInline
    package func write(
        _ connection: ConnectionReference, _ bytes: UnsafeRawPointer, _ count: Int
    ) {
        guard connection.flags.isDisjoint(with: .needsWrite), isCurrent(connection),
            UInt(bitPattern: count &- 1) < shortReply,
            let room = connection.outbound.appendFirst(count, chunks)
        else { return writeSlow(connection, UnsafeRawBufferPointer(start: bytes, count: count)) }
        connection.lastSent = now
        connection.flags.insert(.dirty)
        // Last, so that the copy is a tail call and no register is saved for later.
        room.copyMemory(from: bytes, byteCount: count)
    }

    /// Handles all writes except the first, short piece of a reply in its own connection's
    /// callback.
    @inline(never)
    private func writeSlow(_ connection: ConnectionReference, _ bytes: UnsafeRawBufferPointer) {
        guard acceptsWrites(connection) else { return }
        guard bytes.count > 0 else { return writeNothing(connection) }
        precondition(
            !connection.flags.contains(.reserving),
            "a write inside write(reserving:) on the same connection")
        let bytes = sendAhead(connection, bytes)
        guard bytes.count > 0 else { return }
        if connection.outbound.isEmpty { connection.lastSent = now }
        if connection.flags.contains(.datagrams) {
            separate(connection)
            connection.outbound.gather(bytes, chunks)
        } else {
            connection.outbound.append(bytes, chunks)
        }
        wrote(connection)
    }

    /// Sends a large piece with no bytes before it at once and uncopied, as far as the socket
    /// accepts it. Returns the rest, which is gathered as usual.
    private func sendAhead(
        _ connection: ConnectionReference, _ bytes: UnsafeRawBufferPointer
    ) -> UnsafeRawBufferPointer {
        guard bytes.count > OutboundQueue.largePiece, connection.outbound.isIdle,
            !handlerWantsPreWrite
        else { return bytes }
        guard connection.flags.isDisjoint(with: .needsSent) else {
            return connection.flags.contains(.filtered) ? sealAhead(connection, bytes) : bytes
        }
        let count = driver.trySend(bytes, for: connection.token)
        guard count > 0 else { return bytes }
        connection.lastSent = now
        counters.bytesOut.add(count)
        return UnsafeRawBufferPointer(rebasing: bytes[count...])
    }

    /// The largest reservation, regardless of the limits, since it is one block of memory.
    private static var largestReservation: Int { 1 << 32 }

    /// Returns room for at least `capacity` bytes behind the gathered ones, or nil if no more are
    /// accepted. A reservation above the outbound limit has the effect of a write of that size.
    package func reserve(
        _ connection: ConnectionReference, _ capacity: Int
    ) -> UnsafeMutableRawBufferPointer? {
        guard connection.state == .open,
            connection.flags.isDisjoint(with: [.writeEnded, .datagrams])
        else { return reserveSlow(connection, capacity) }
        guard mayReserve(capacity, connection) else { return nil }
        return connection.outbound.reserve(capacity, chunks)
    }

    @inline(__always)
    private func mayReserve(_ capacity: Int, _ connection: ConnectionReference) -> Bool {
        precondition(
            !connection.flags.contains(.reserving),
            "write(reserving:) inside write(reserving:) on the same connection")
        // One chunk is available regardless of the limit.
        let most = max(Chunk.standardCapacity, configuration.outboundLimit)
        guard capacity <= min(most, Self.largestReservation) else {
            counters.outboundOverflows.add()
            abort(connection, .outboundOverflow)
            return false
        }
        connection.flags.insert(.reserving)
        return true
    }

    /// For datagrams, for `preWrite` of a closing connection, and for connections that accept no
    /// writes.
    @inline(never)
    private func reserveSlow(
        _ connection: ConnectionReference, _ capacity: Int
    ) -> UnsafeMutableRawBufferPointer? {
        guard acceptsWrites(connection) else { return nil }
        let isDatagram = connection.flags.contains(.datagrams)
        if isDatagram && !connection.flags.contains(.reserving) { separate(connection) }
        guard mayReserve(capacity, connection) else { return nil }
        guard isDatagram else { return connection.outbound.reserve(capacity, chunks) }
        return connection.outbound.reserveGathered(capacity, chunks)
    }

    package func commit(_ connection: ConnectionReference, _ count: Int) {
        connection.flags.remove(.reserving)
        if connection.outbound.isEmpty { connection.lastSent = now }
        connection.outbound.commit(count, chunks)
        if count > 0 { wrote(connection) }
    }

    func acceptsWrites(_ connection: ConnectionReference) -> Bool {
        let flags = connection.flags
        if connection.state == .open {
            guard flags.contains(.writeEnded) else { return true }
            // Before the last bytes, whose end is not sent yet.
            return flags.contains(.preWriting) && flags.isDisjoint(with: [.endSent, .broken])
        }
        return flags.contains(.preWriting) && connection.state == .finishing
    }

    func wrote(_ connection: ConnectionReference) {
        judgeBacklog(connection)
        guard !connection.flags.contains(.dirty) else { return }
        connection.flags.insert(.dirty)
        if !isCurrent(connection) { enqueue(connection) }
    }

    /// Checks the marks and the limit after more bytes were queued.
    @inline(__always)
    func judgeBacklog(_ connection: ConnectionReference) {
        guard backlog(connection) > configuration.outboundHighMark else { return }
        congest(connection)
    }

    /// Checks the marks after bytes were sealed that no handler has written.
    func judgeSealed(_ connection: ConnectionReference) {
        judgeBacklog(connection)
        throttleIfCongested(connection)
    }

    private func congest(_ connection: ConnectionReference) {
        connection.flags.insert(.congested)
        let excess =
            connection.outbound.held + sealedCount(connection) - configuration.outboundLimit
        guard excess > 0, !isPassingOn, excess > pipeExcess(of: connection) else { return }
        counters.outboundOverflows.add()
        abort(connection, .outboundOverflow)
    }

    /// Sends the gathered bytes now, not when the callback has returned.
    package func flushNow(_ connection: ConnectionReference) {
        flush(connection)
        driver.flushSubmissions()
    }

    /// Sends the gathered bytes.
    func flush(_ connection: ConnectionReference) { flush(connection, driver) }

    @usableFromInline
    @inline(never)
    func flushSlow(_ connection: ConnectionReference) {
        precondition(
            !connection.flags.contains(.reserving), "flush inside write(reserving:)")
        if handlerWantsPreWrite && !connection.flags.contains(.preWriting) {
            askBeforeWriting(connection)
        }
        connection.flags.remove(.dirty)
        guard isSending(connection) else { return }
        sendNext(connection)
        throttleIfCongested(connection)
    }

    /// Throttles between the marks too: a handler that must not write must not be shown more input.
    private func throttleIfCongested(_ connection: ConnectionReference) {
        let backlog = backlog(connection)
        let isFull = backlog > configuration.outboundHighMark
        let isStillCongested =
            connection.flags.contains(.congested)
            && backlog > configuration.outboundLowMark
        if isFull || isStillCongested { throttle(connection) }
    }

    @inline(never)
    private func askBeforeWriting(_ connection: ConnectionReference) {
        guard !connection.outbound.isEmpty, isSending(connection) else { return }
        connection.flags.insert(.preWriting)
        callback(connection) { try $0.preWrite(connection) }
        connection.flags.remove(.preWriting)
    }

    /// Whether gathered bytes are to be sent. False after an abort, even in the callback that
    /// called it.
    func isSending(_ connection: ConnectionReference) -> Bool {
        !connection.flags.contains(.aborting)
            && (connection.state == .open || connection.state == .finishing
                || connection.state == .securing)
    }

    func sendNext(_ connection: ConnectionReference) {
        guard connection.flags.isDisjoint(with: [.datagrams, .filtered]) else {
            return connection.flags.contains(.filtered)
                ? sendSealed(connection) : sendNextDatagram(connection)
        }
        guard let bytes = connection.outbound.nextToSend(chunks) else {
            if let error = connection.outbound.fileError { fileFailed(connection, error) }
            return
        }
        driver.submit(.send(bytes), for: connection.token)
    }

    /// Pauses reading until the peer has read its output. This bounds output that the peer's own
    /// input causes. Not for a connection that we made: if the peer did the same, both would wait
    /// for ever. Not for the source of a pipe, since its output has another cause.
    private func throttle(_ connection: ConnectionReference) {
        guard connection.state == .open,
            connection.flags.isDisjoint(with: [.paused(.output), .readsAhead, .piped, .broken])
        else { return }
        connection.flags.insert([.paused(.output), .congested])
        counters.readPauses.add()
        updateReading(connection)
    }

    /// Handles all sends except a whole reply without a `sent` closure.
    @usableFromInline
    @inline(never)
    func sentPart(_ connection: ConnectionReference, _ count: Int) {
        guard connection.flags.isDisjoint(with: [.notOpen, .datagrams, .filtered]) else {
            return sentSlow(connection, count)
        }
        streamSent(connection, count)
    }

    @inline(never)
    private func sentSlow(_ connection: ConnectionReference, _ count: Int) {
        guard connection.state != .closing else { return }
        if connection.flags.contains(.datagrams) { return datagramSent(connection, count) }
        if connection.flags.contains(.filtered) { return sealedSent(connection, count) }
        streamSent(connection, count)
    }

    @inline(__always)
    private func streamSent(_ connection: ConnectionReference, _ count: Int) {
        connection.lastSent = now
        connection.outbound.complete(count, chunks)
        if connection.flags.contains(.hasPromises) { connection.sentTotal += count }
        counters.bytesOut.add(count)
        wentOut(connection)
    }

    /// Runs after a part was sent, or a datagram was sent or dropped.
    @inline(__always)
    func wentOut(_ connection: ConnectionReference) {
        if connection.flags.contains(.hasPromises) { tellSent(connection) }
        if owes(connection) && isSending(connection) { sendMore(connection) }
        if backlog(connection) <= configuration.outboundLowMark {
            if !connection.flags.isDisjoint(with: [.paused(.output), .congested]) {
                relieve(connection)
            }
            if !owes(connection)
                && (connection.flags.contains(.writeEnded)
                    || connection.state == .finishing)
            {
                process(connection)
            }
        }
    }

    /// Bytes that were written since the last flush are sent only after `preWrite`.
    @inline(__always)
    func sendMore(_ connection: ConnectionReference) {
        if handlerWantsPreWrite && connection.flags.contains(.dirty) {
            flushSlow(connection)
        } else {
            sendNext(connection)
        }
    }

    func relieve(_ connection: ConnectionReference) {
        guard connection.state == .open, !connection.flags.contains(.broken)
        else { return }
        let wasThrottled = connection.pauses.contains(.output)
        let wasCongested = connection.flags.contains(.congested)
        connection.flags.subtract([.paused(.output), .congested])
        // Unread bytes are shown before more are read, and both callbacks may fill the queue again.
        // Otherwise each relief would leave more bytes unread.
        if wasThrottled { showUnread(connection) }
        guard wasCongested else { return }
        reliefForPipe(connection)
        callback(connection) { try $0.writable(connection) }
        guard connection.inbound.count == 0 else { return }
        connection.flags.remove(.trafficDue)
        markKeptDatagrams(connection)
    }

    package func readsAhead(_ connection: ConnectionReference) -> Bool {
        connection.flags.contains(.readsAhead)
    }

    /// Sets whether reading continues regardless of unsent bytes.
    package func setReadsAhead(_ connection: ConnectionReference, _ isOn: Bool) {
        guard isOn else {
            connection.flags.remove(.readsAhead)
            return throttleIfCongested(connection)
        }
        connection.flags.insert(.readsAhead)
        guard connection.pauses.contains(.output) else { return }
        connection.pauses.remove(.output)
        showUnread(connection)
    }

    /// Ends only the writing side: bytes that the peer has sent are read to their end.
    func sendFailed(_ connection: ConnectionReference, _ error: SystemError) {
        guard connection.state != .closing else { return }
        if connection.flags.contains(.datagrams) {
            return datagramSendFailed(connection, error)
        }
        if connection.flags.contains(.filtered) { return sealedSendFailed(connection, error) }
        connection.outbound.complete(0, chunks)
        guard connection.state == .open else {
            return beginClosing(connection, .reset(error))
        }
        connection.outbound.clear(chunks)
        breakOff(connection, error)
    }

    // MARK: Promises

    /// Like `write`, and calls `tell` when the kernel has all bytes, or with the cause when it
    /// never will.
    package func write(
        _ connection: ConnectionReference, _ bytes: UnsafeRawBufferPointer,
        tell: @escaping SendResult
    ) {
        guard let details = connection.details, acceptsWrites(connection) else {
            return tell(.local)
        }
        write(connection, bytes)
        // The write itself may have failed.
        guard acceptsWrites(connection) else {
            return tell(details.takeUnretainedValue().cause ?? .local)
        }
        promise(connection, details.takeUnretainedValue(), tell)
    }

    /// Calls `tell` when the kernel has all bytes written so far.
    func promise(
        _ connection: ConnectionReference, _ details: ConnectionDetails,
        _ tell: @escaping SendResult
    ) {
        guard owes(connection) else { return tell(nil) }
        let taken = details.filter?.sealedTotal ?? connection.sentTotal
        let mark = taken + connection.outbound.count + connection.outbound.fileCount
        details.extras.promises.append((mark, tell))
        connection.flags.insert(.hasPromises)
    }

    func tellSent(_ connection: ConnectionReference) {
        guard let details = connection.details?.takeUnretainedValue() else { return }
        let total = connection.sentTotal
        let reached = details.promises.prefix { $0.mark <= total }
        details.extras.promises.removeFirst(reached.count)
        if details.promises.isEmpty { connection.flags.remove(.hasPromises) }
        for promise in reached { runClosure(for: nil) { _ in promise.tell(nil) } }
    }

    func failPromises(_ connection: ConnectionReference, _ cause: CloseCause) {
        guard let details = connection.details?.takeUnretainedValue() else { return }
        let promises = details.promises
        guard !promises.isEmpty else { return }
        details.extras.promises = []
        connection.flags.remove(.hasPromises)
        for promise in promises { runClosure(for: nil) { _ in promise.tell(cause) } }
    }
}
