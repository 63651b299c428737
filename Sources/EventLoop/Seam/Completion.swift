/// One event of one token, as a driver reports it.
@usableFromInline
package struct Completion {
    @usableFromInline package let token: Token
    @usableFromInline package let event: Event

    @inlinable package init(_ token: Token, _ event: Event) {
        self.token = token
        self.event = event
    }
}

/// The kind of an event, with its data.
@usableFromInline
package enum Event {
    /// A connected, non-blocking descriptor, which now belongs to the caller of `next()`.
    case accepted(Descriptor)
    /// At least one byte, valid until the next `next()` or `wait(until:)`.
    case received(UnsafeRawPointer, count: Int)
    /// The peer ended its side. The stream's last completion.
    case endOfStream
    /// One datagram, valid with its sender until the next `next()` or `wait(until:)`.
    case datagram(UnsafePointer<ReceivedDatagram>)
    /// The connect succeeded, as far as the kernel reports.
    case connected
    /// The number of bytes of the send that the kernel accepted. The driver no longer uses the
    /// memory.
    case sent(Int)
    /// The answer to `watch`: both directions of the socket are over. Carries an errno that no
    /// other operation will report, or 0. Received bytes may still be unread.
    case hungUp(Int32)
    /// The stream was stopped. Its last completion.
    case stopped(StreamKind)
    /// The descriptor is closed and no memory is in use. The token's last completion.
    case closed
    /// The operation ended with an error; for a stream, its last completion.
    case failed(OperationKind, SystemError)

    /// The bytes of a `received`, with the same lifetime.
    package var receivedBytes: UnsafeRawBufferPointer? {
        guard case .received(let start, let count) = self else { return nil }
        return UnsafeRawBufferPointer(start: start, count: count)
    }
}

/// A datagram in the driver's memory. ICMP errors of earlier sends are not reported: they end no
/// operation.
@usableFromInline
package struct ReceivedDatagram {
    /// The payload, possibly empty.
    @usableFromInline package var bytes: UnsafeRawBufferPointer
    /// The sender in the kernel's form. If the socket is bound to every address, the local address
    /// that was asked follows (`AskedAddress`). A reply to both parts is sent from that address.
    @usableFromInline package var sender: UnsafeRawBufferPointer
    /// The datagram was longer than the driver's buffer.
    @usableFromInline package var isTruncated: Bool
    /// The size of each of several datagrams in `bytes`, of which the last may be shorter; 0 for a
    /// single one.
    @usableFromInline package var segmentSize: Int

    @inlinable
    package init(
        bytes: UnsafeRawBufferPointer, sender: UnsafeRawBufferPointer, isTruncated: Bool,
        segmentSize: Int = 0
    ) {
        self.bytes = bytes
        self.sender = sender
        self.isTruncated = isTruncated
        self.segmentSize = segmentSize
    }

    /// The size of one buffer: the most that IPv4 can carry in one datagram.
    package static let largest = 65_507
}
