/// Datagrams of bound sockets: received one by one, replied to together.
import Glibc

extension Loop {
    @usableFromInline
    @inline(never)
    func datagram(
        _ datagram: UnsafePointer<ReceivedDatagram>, on record: ConnectionReference
    ) {
        let (whole, size) = (datagram.pointee.bytes, datagram.pointee.segmentSize)
        if size > 0 && size < whole.count { return pieces(of: datagram, on: record) }
        single(datagram, on: record)
    }

    /// Delivers each of several datagrams that the kernel merged.
    @inline(never)
    private func pieces(
        of datagram: UnsafePointer<ReceivedDatagram>, on record: ConnectionReference
    ) {
        let (whole, size) = (datagram.pointee.bytes, datagram.pointee.segmentSize)
        counters.coalescedReceives.add()
        var piece = datagram.pointee
        for start in stride(from: 0, to: whole.count, by: size) {
            let end = min(start + size, whole.count)
            piece.bytes = UnsafeRawBufferPointer(rebasing: whole[start..<end])
            piece.isTruncated = datagram.pointee.isTruncated && end == whole.count
            withUnsafePointer(to: piece) { single($0, on: record) }
        }
    }

    @inline(__always)
    private func single(
        _ datagram: UnsafePointer<ReceivedDatagram>, on record: ConnectionReference
    ) {
        guard record.state == .listening else {
            return receivedDatagram(record, datagram.pointee.bytes)
        }
        counters.datagramsIn.add()
        let count = datagram.pointee.bytes.count
        counters.bytesIn.add(count)
        // The event comes from the driver, so it is never inside another callback.
        depth = 1
        do {
            let action = try delegates._withUnsafeGuaranteedRef {
                try $0.datagrams.datagram(
                    datagram, on: self, socket: Int(record.listener))
            }
            if action == .shutdown { shutdownAsked() }
        } catch {
            datagramHandlerFailed(error)
        }
        depth = 0
        if !retired.isEmpty { retired.free() }
    }

    @inline(never)
    private func shutdownAsked() { owner.stopRequested(.shutdownAction) }

    /// Counts and reports the error: there is no connection to close.
    @inline(never)
    private func datagramHandlerFailed(_ error: any Error) {
        counters.datagramErrors.add()
        owner.report(.datagramHandlerFailed("\(error)"))
    }

    func datagramsStopped(_ record: ConnectionReference) {
        if record.state == .listening {
            acceptStopped(record)
        } else {
            receiveStopped(record)
        }
    }

    func datagramsFailed(_ record: ConnectionReference, _ error: SystemError) {
        if record.state == .listening {
            acceptFailed(error, on: record)
        } else {
            receiveFailed(record, error)
        }
    }

    /// Gathers a datagram to be sent at the end of this turn. Ignored after the socket has closed.
    package func sendDatagram(
        _ bytes: UnsafeRawBufferPointer, to name: UnsafeRawBufferPointer, socket index: Int
    ) {
        if index < outboxes.count, let outbox = outboxes[index],
            outbox._withUnsafeGuaranteedRef({ $0.append(bytes, to: name) })
        {
            hasDatagramsToSend = true
            return
        }
        sendFurther(bytes, to: name, socket: index)
    }

    /// For a socket's first datagram, and when the outbox is full.
    @inline(never)
    private func sendFurther(
        _ bytes: UnsafeRawBufferPointer, to name: UnsafeRawBufferPointer, socket index: Int
    ) {
        guard isServed(index) else { return }
        let outbox = outbox(of: index)
        hasDatagramsToSend = true
        guard !outbox.append(bytes, to: name) else { return }
        flushDatagrams(index, outbox)
        // Larger than an empty outbox: no network transports it either.
        if !outbox.append(bytes, to: name) { counters.datagramDrops.add() }
    }

    private func outbox(of index: Int) -> DatagramOutbox {
        while outboxes.count <= index { outboxes.append(nil) }
        if let known = outboxes[index] { return known.takeUnretainedValue() }
        let outbox = DatagramOutbox(
            bundles: configuration.segmentationOffload,
            hasSources: listeners[index].bound.address.isWildcard)
        outboxes[index] = .passRetained(outbox)
        return outbox
    }

    /// Removes the outbox of a closing socket, since the descriptor number may be reused.
    func forgetOutbox(_ index: Int) {
        guard index < outboxes.count else { return }
        outboxes[index]?.release()
        outboxes[index] = nil
    }

    /// Whether `index` is a datagram socket that has not closed.
    package func isServed(_ index: Int) -> Bool {
        guard listeners.indices.contains(index), listeners[index].bound.isDatagram else {
            return false
        }
        return switch listeners[index].state {
        case .closing, .closed: false
        case .idle, .accepting, .stopping, .backingOff, .full, .emptying: true
        }
    }

    /// Sends the datagrams gathered on every socket.
    func flushDatagrams() {
        guard hasDatagramsToSend else { return }
        hasDatagramsToSend = false
        for index in outboxes.indices {
            if let outbox = outboxes[index]?.takeUnretainedValue(), !outbox.isEmpty {
                flushDatagrams(index, outbox)
            }
        }
    }

    private func flushDatagrams(_ index: Int, _ outbox: DatagramOutbox) {
        let flushed = outbox.flush(sockets, on: listeners[index].bound.descriptor)
        counters.bytesOut.add(flushed.bytes)
        counters.datagramsOut.add(flushed.sent)
        if flushed.dropped > 0 { counters.datagramDrops.add(flushed.dropped) }
        if flushed.bundles > 0 { counters.segmentedSends.add(flushed.bundles) }
        if flushed.refusedBundles > 0 {
            counters.segmentationFallBacks.add(flushed.refusedBundles)
        }
    }

    /// The address that a listener of this loop is bound to.
    package func boundAddress(_ index: Int) -> SocketAddress { listeners[index].bound.address }

    package func joinGroup(
        _ group: SocketAddress, interface: String?, socket index: Int
    ) throws(SystemError) {
        // The kernel may have reused the descriptor number of a closed socket.
        guard isServed(index) else { throw SystemError(EBADF, "setsockopt") }
        try sockets.join(group, interface: interface, on: listeners[index].bound.descriptor)
    }
}
