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
        record.lastReceived = now
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
        if datagramSockets.append(bytes, to: name, socket: index) { return }
        sendFurther(bytes, to: name, socket: index)
    }

    @inline(never)
    private func sendFurther(
        _ bytes: UnsafeRawBufferPointer, to name: UnsafeRawBufferPointer, socket index: Int
    ) {
        count(datagramSockets.appendFurther(bytes, to: name, socket: index, sockets))
    }

    /// Sends the datagrams gathered on every socket.
    func flushDatagrams() {
        guard datagramSockets.hasUnsent else { return }
        count(datagramSockets.flush(sockets))
    }

    private func count(_ flushed: DatagramOutbox.Flushed) {
        counters.bytesOut.add(flushed.bytes)
        counters.datagramsOut.add(flushed.sent)
        if flushed.dropped > 0 { counters.datagramDrops.add(flushed.dropped) }
        if flushed.bundles > 0 { counters.segmentedSends.add(flushed.bundles) }
        if flushed.refusedBundles > 0 {
            counters.segmentationFallBacks.add(flushed.refusedBundles)
        }
    }

    /// Whether `index` is a datagram socket that has not closed.
    package func isServed(_ index: Int) -> Bool { datagramSockets.isOpen(index) }

    /// The address that a listener of this loop is bound to.
    package func boundAddress(_ index: Int) -> SocketAddress {
        acceptor.listeners[index].bound.address
    }

    package func joinGroup(
        _ group: SocketAddress, interface: String?, socket index: Int
    ) throws(SystemError) {
        guard let descriptor = datagramSockets.descriptor(index) else {
            throw SystemError(EBADF, "setsockopt")
        }
        try sockets.join(group, interface: interface, on: descriptor)
    }
}
