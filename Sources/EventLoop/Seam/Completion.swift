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
    case received(UnsafeRawBufferPointer)
    /// The peer ended its side. The stream's last word.
    case endOfStream
    /// How many bytes of the send the kernel took; the memory is the loop's again.
    case sent(Int)
    /// The stream was stopped. Its last word.
    case stopped(StreamKind)
    /// The descriptor is closed and no memory is in use: the token's last word.
    case closed
    /// The operation ended with an error; for a stream, its last word.
    case failed(OperationKind, SystemError)
}
