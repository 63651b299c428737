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
        guard connection.pointee.flags.isDisjoint(with: .needsWrite), isCurrent(connection),
            UInt(bitPattern: count &- 1) < shortReply,
            let room = connection.pointee.outbound.appendFirst(count, chunks)
        else { return writeRest(connection, UnsafeRawBufferPointer(start: bytes, count: count)) }
        connection.pointee.lastSent = now
        connection.pointee.flags.insert(.dirty)
        // Last, so that the copy is a tail call and no register is saved for later.
        room.copyMemory(from: bytes, byteCount: count)
    }

    /// Handles all writes except the first, short piece of a reply in its own connection's
    /// callback.
    @inline(never)
    private func writeRest(_ connection: ConnectionReference, _ bytes: UnsafeRawBufferPointer) {
        guard acceptsWrites(connection) else { return }
        guard bytes.count > 0 else { return writeNothing(connection) }
        precondition(
            !connection.pointee.flags.contains(.reserving),
            "a write inside write(reserving:) on the same connection")
        let bytes = sendAhead(connection, bytes)
        guard bytes.count > 0 else { return }
        if connection.pointee.outbound.isEmpty { connection.pointee.lastSent = now }
        if connection.pointee.flags.contains(.datagrams) {
            separate(connection)
            connection.pointee.outbound.gather(bytes, chunks)
        } else {
            connection.pointee.outbound.append(bytes, chunks)
        }
        wrote(connection)
    }

    /// Sends a large piece with no bytes before it at once and uncopied, as far as the socket
    /// accepts it. Returns the rest, which is gathered as usual.
    private func sendAhead(
        _ connection: ConnectionReference, _ bytes: UnsafeRawBufferPointer
    ) -> UnsafeRawBufferPointer {
        guard bytes.count > OutboundQueue.largePiece, connection.pointee.outbound.isIdle,
            !handlerWantsWillWrite, connection.pointee.flags.isDisjoint(with: .needsSent)
        else { return bytes }
        let count = driver.sendNow(bytes, for: connection.pointee.token)
        guard count > 0 else { return bytes }
        connection.pointee.lastSent = now
        port.counters.bytesOut.add(count)
        return UnsafeRawBufferPointer(rebasing: bytes[count...])
    }

    /// The largest reservation, regardless of the limits, since it is one block of memory.
    private static var largestReservation: Int { 1 << 32 }

    /// Returns room for at least `capacity` bytes behind the gathered ones, or nil if no more are
    /// accepted. A reservation above the outbound limit has the effect of a write of that size.
    package func reserve(
        _ connection: ConnectionReference, _ capacity: Int
    ) -> UnsafeMutableRawBufferPointer? {
        guard connection.pointee.state == .open,
            connection.pointee.flags.isDisjoint(with: [.writeEnded, .datagrams])
        else { return reserveRest(connection, capacity) }
        guard mayReserve(capacity, connection) else { return nil }
        return connection.pointee.outbound.reserve(capacity, chunks)
    }

    @inline(__always)
    private func mayReserve(_ capacity: Int, _ connection: ConnectionReference) -> Bool {
        precondition(
            !connection.pointee.flags.contains(.reserving),
            "write(reserving:) inside write(reserving:) on the same connection")
        // One chunk is available regardless of the limit.
        let most = max(Chunk.standardCapacity, configuration.outboundLimit)
        guard capacity <= min(most, Self.largestReservation) else {
            port.counters.outboundOverflows.add()
            abort(connection, .outboundOverflow)
            return false
        }
        connection.pointee.flags.insert(.reserving)
        return true
    }

    /// For datagrams, for `preWrite` of a closing connection, and for connections that accept no
    /// writes.
    @inline(never)
    private func reserveRest(
        _ connection: ConnectionReference, _ capacity: Int
    ) -> UnsafeMutableRawBufferPointer? {
        guard acceptsWrites(connection) else { return nil }
        let isDatagram = connection.pointee.flags.contains(.datagrams)
        if isDatagram && !connection.pointee.flags.contains(.reserving) { separate(connection) }
        guard mayReserve(capacity, connection) else { return nil }
        guard isDatagram else { return connection.pointee.outbound.reserve(capacity, chunks) }
        return connection.pointee.outbound.reserveGathered(capacity, chunks)
    }

    package func commit(_ connection: ConnectionReference, _ count: Int) {
        connection.pointee.flags.remove(.reserving)
        if connection.pointee.outbound.isEmpty { connection.pointee.lastSent = now }
        connection.pointee.outbound.commit(count, chunks)
        if count > 0 { wrote(connection) }
    }

    func acceptsWrites(_ connection: ConnectionReference) -> Bool {
        let flags = connection.pointee.flags
        if connection.pointee.state == .open { return !flags.contains(.writeEnded) }
        return flags.contains(.preWriting) && connection.pointee.state == .finishing
    }

    func wrote(_ connection: ConnectionReference) {
        judgeBacklog(connection)
        guard !connection.pointee.flags.contains(.dirty) else { return }
        connection.pointee.flags.insert(.dirty)
        if !isCurrent(connection) { enqueue(connection) }
    }

    /// Checks the marks and the limit after more bytes were queued.
    @inline(__always)
    func judgeBacklog(_ connection: ConnectionReference) {
        guard connection.pointee.outbound.backlog > configuration.outboundHighMark else { return }
        congest(connection)
    }

    private func congest(_ connection: ConnectionReference) {
        connection.pointee.flags.insert(.congested)
        guard connection.pointee.outbound.memory > configuration.outboundLimit else { return }
        port.counters.outboundOverflows.add()
        abort(connection, .outboundOverflow)
    }

    /// Sends the gathered bytes now, not when the callback has returned.
    package func flushNow(_ connection: ConnectionReference) {
        flush(connection)
        driver.handOver()
    }

    /// Sends the gathered bytes.
    func flush(_ connection: ConnectionReference) { flush(connection, driver) }

    @usableFromInline
    @inline(never)
    func flushRest(_ connection: ConnectionReference) {
        precondition(
            !connection.pointee.flags.contains(.reserving), "flush inside write(reserving:)")
        if handlerWantsWillWrite && !connection.pointee.flags.contains(.preWriting) {
            askBeforeWriting(connection)
        }
        connection.pointee.flags.remove(.dirty)
        guard isSending(connection) else { return }
        sendNext(connection)
        throttleIfCongested(connection)
    }

    /// Throttles between the marks too: a handler that must not write must not be shown more input.
    private func throttleIfCongested(_ connection: ConnectionReference) {
        let isFull = connection.pointee.outbound.backlog > configuration.outboundHighMark
        let isStillCongested =
            connection.pointee.flags.contains(.congested)
            && connection.pointee.outbound.backlog > configuration.outboundLowMark
        if isFull || isStillCongested { throttle(connection) }
    }

    @inline(never)
    private func askBeforeWriting(_ connection: ConnectionReference) {
        guard !connection.pointee.outbound.isEmpty, isSending(connection) else { return }
        connection.pointee.flags.insert(.preWriting)
        callback(connection) { try $0.willWrite(connection) }
        connection.pointee.flags.remove(.preWriting)
    }

    /// Whether gathered bytes are to be sent. False after an abort, even in the callback that
    /// called it.
    func isSending(_ connection: ConnectionReference) -> Bool {
        !connection.pointee.flags.contains(.aborting)
            && (connection.pointee.state == .open || connection.pointee.state == .finishing)
    }

    func sendNext(_ connection: ConnectionReference) {
        if connection.pointee.flags.contains(.datagrams) { return sendNextDatagram(connection) }
        guard let bytes = connection.pointee.outbound.takeOff(chunks) else {
            if let error = connection.pointee.outbound.fileError { fileFailed(connection, error) }
            return
        }
        driver.submit(.send(bytes), for: connection.pointee.token)
    }

    /// Pauses reading until the peer has read its output. This bounds output that the peer's own
    /// input causes. Not for a connection that we made: if the peer did the same, both would wait
    /// for ever. Not for the source of a pipe, since its output has another cause.
    private func throttle(_ connection: ConnectionReference) {
        guard connection.pointee.state == .open,
            connection.pointee.flags.isDisjoint(with: [.throttled, .readsAhead, .piped, .broken])
        else { return }
        connection.pointee.flags.insert([.throttled, .congested])
        port.counters.readPauses.add()
        updateReading(connection)
    }

    /// Handles all sends except a whole reply without a `sent` closure.
    @usableFromInline
    @inline(never)
    func sentPart(_ connection: ConnectionReference, _ count: Int) {
        guard connection.pointee.flags.isDisjoint(with: [.notOpen, .datagrams]) else {
            return sentRest(connection, count)
        }
        streamSent(connection, count)
    }

    @inline(never)
    private func sentRest(_ connection: ConnectionReference, _ count: Int) {
        guard connection.pointee.state != .closing else { return }
        if connection.pointee.flags.contains(.datagrams) { return datagramSent(connection, count) }
        streamSent(connection, count)
    }

    @inline(__always)
    private func streamSent(_ connection: ConnectionReference, _ count: Int) {
        connection.pointee.lastSent = now
        connection.pointee.outbound.complete(count, chunks)
        connection.pointee.sentTotal += count
        port.counters.bytesOut.add(count)
        wentOut(connection)
    }

    /// Runs after a part was sent, or a datagram was sent or dropped.
    @inline(__always)
    func wentOut(_ connection: ConnectionReference) {
        if connection.pointee.flags.contains(.sendAwaited) { tellSent(connection) }
        if !connection.pointee.outbound.isEmpty && isSending(connection) { sendNext(connection) }
        if connection.pointee.outbound.backlog <= configuration.outboundLowMark {
            if !connection.pointee.flags.isDisjoint(with: [.throttled, .congested]) {
                relieve(connection)
            }
            if connection.pointee.outbound.isEmpty
                && (connection.pointee.flags.contains(.writeEnded)
                    || connection.pointee.state == .finishing)
            {
                attend(connection)
            }
        }
    }

    func relieve(_ connection: ConnectionReference) {
        guard connection.pointee.state == .open, !connection.pointee.flags.contains(.broken)
        else { return }
        let wasThrottled = connection.pointee.flags.contains(.throttled)
        let wasCongested = connection.pointee.flags.contains(.congested)
        connection.pointee.flags.subtract([.throttled, .congested])
        // Unread bytes are shown before more are read, and both callbacks may fill the queue again.
        // Otherwise each relief would leave more bytes unread.
        if wasThrottled { showUnread(connection) }
        guard wasCongested else { return }
        reliefForPipe(connection)
        callback(connection) { try $0.writable(connection) }
        if connection.pointee.inbound.count == 0 { connection.pointee.flags.remove(.trafficDue) }
    }

    package func readsAhead(_ connection: ConnectionReference) -> Bool {
        connection.pointee.flags.contains(.readsAhead)
    }

    /// Sets whether reading continues regardless of unsent bytes.
    package func setReadsAhead(_ connection: ConnectionReference, _ isOn: Bool) {
        guard isOn else {
            connection.pointee.flags.remove(.readsAhead)
            return throttleIfCongested(connection)
        }
        connection.pointee.flags.insert(.readsAhead)
        guard connection.pointee.flags.contains(.throttled) else { return }
        connection.pointee.flags.remove(.throttled)
        showUnread(connection)
    }

    /// Ends only the writing side: bytes that the peer has sent are read to their end.
    func sendFailed(_ connection: ConnectionReference, _ error: SystemError) {
        guard connection.pointee.state != .closing else { return }
        if connection.pointee.flags.contains(.datagrams) {
            return datagramSendFailed(connection, error)
        }
        connection.pointee.outbound.complete(0, chunks)
        guard connection.pointee.state == .open else {
            return beginClosing(connection, .reset(error))
        }
        connection.pointee.outbound.clear(chunks)
        breakOff(connection, error)
    }

    // MARK: Promises

    /// Like `write`, and calls `tell` when the kernel has all bytes, or with the cause when it
    /// never will.
    package func write(
        _ connection: ConnectionReference, _ bytes: UnsafeRawBufferPointer,
        tell: @escaping SendResult
    ) {
        guard let details = connection.pointee.details, acceptsWrites(connection) else {
            return tell(.local)
        }
        write(connection, bytes)
        promise(connection, details.takeUnretainedValue(), tell)
    }

    /// Calls `tell` when the kernel has all bytes written so far.
    func promise(
        _ connection: ConnectionReference, _ details: ConnectionDetails,
        _ tell: @escaping SendResult
    ) {
        let mark =
            connection.pointee.sentTotal + connection.pointee.outbound.count
            + connection.pointee.outbound.fileCount
        if connection.pointee.outbound.isEmpty { return tell(nil) }
        details.awaitedSends.append((mark, tell))
        connection.pointee.flags.insert(.sendAwaited)
    }

    func tellSent(_ connection: ConnectionReference) {
        guard let details = connection.pointee.details?.takeUnretainedValue() else { return }
        let total = connection.pointee.sentTotal
        let reached = details.awaitedSends.prefix { $0.mark <= total }
        details.awaitedSends.removeFirst(reached.count)
        if details.awaitedSends.isEmpty { connection.pointee.flags.remove(.sendAwaited) }
        for promise in reached { runClosure(for: nil) { _ in promise.tell(nil) } }
    }

    func failAwaitedSends(_ connection: ConnectionReference, _ cause: CloseCause) {
        guard let details = connection.pointee.details?.takeUnretainedValue() else { return }
        let promises = details.awaitedSends
        guard !promises.isEmpty else { return }
        details.awaitedSends = []
        connection.pointee.flags.remove(.sendAwaited)
        for promise in promises { runClosure(for: nil) { _ in promise.tell(cause) } }
    }
}
