/// One thing that happened to one token.
@usableFromInline
package struct Completion {
    @usableFromInline package let token: Token
    @usableFromInline package let event: Event

    @inlinable package init(_ token: Token, _ event: Event) {
        self.token = token
        self.event = event
    }
}

/// What happened.
@usableFromInline
package enum Event {
    /// A connected, non-blocking descriptor, which now belongs to who pulled it.
    case accepted(Descriptor)
    /// Bytes, never none, lent until the next `next()` or `wait(until:)`.
    case received(UnsafeRawPointer, count: Int)
    /// The peer ended its side. The stream's last word.
    case endOfStream
    /// One datagram, lent with its sender until the next `next()` or `wait(until:)`.
    case datagram(UnsafePointer<ReceivedDatagram>)
    /// The connect succeeded, as far as the kernel says.
    case connected
    /// How many bytes of the send the kernel took; the memory is the loop's again.
    case sent(Int)
    /// The answer to `watch`: both directions of the socket are over, with this errno, which no
    /// other operation will report, or 0. Bytes may still be there to receive.
    case hungUp(Int32)
    /// The stream was stopped. Its last word.
    case stopped(StreamKind)
    /// The descriptor is closed and no memory is in use: the token's last word.
    case closed
    /// The operation ended with an error; for a stream, its last word.
    case failed(OperationKind, SystemError)

    /// The bytes of a `received`, lent as there.
    package var receivedBytes: UnsafeRawBufferPointer? {
        guard case .received(let start, let count) = self else { return nil }
        return UnsafeRawBufferPointer(start: start, count: count)
    }
}

/// A datagram where the driver has it. Errors that it may bring with it from earlier sends (ICMP)
/// are not told: they are nobody's end.
@usableFromInline
package struct ReceivedDatagram {
    /// Perhaps none.
    @usableFromInline package var bytes: UnsafeRawBufferPointer
    /// The sender in the kernel's form. Behind it, if the socket is bound to every address, the one
    /// that was asked (`AskedAddress`): a reply to the whole goes from there.
    @usableFromInline package var sender: UnsafeRawBufferPointer
    /// The datagram was longer than the driver's buffer.
    @usableFromInline package var isTruncated: Bool
    /// These are several datagrams of so many bytes, the last perhaps of fewer; 0: a single one.
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

    /// What one buffer must hold: the most that IPv4 can carry in one datagram.
    package static let largest = 65_507
}
