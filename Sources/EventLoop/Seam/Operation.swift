/// The operations that continue until stopped: each yields any number of completions.
@usableFromInline
package enum StreamKind: UInt8, Sendable {
    case accept
    case receive
    case datagrams
}

/// An operation of a loop for a driver, as data: at most 24 bytes, no reference.
@usableFromInline
package enum Operation {
    /// Accepts on a listening descriptor until stopped or `failed(.accept)`.
    case accept
    /// Receives until stopped, `endOfStream` or `failed(.receive)`. Submitted again only after the
    /// previous stream's last completion has been pulled.
    case receive
    /// Like `receive`, but for a datagram socket. An empty datagram does not end the stream.
    case receiveDatagrams
    /// Connects to an address in the kernel's form. The memory must not change until `connected` or
    /// `failed(.connect)`. Until then only `close` may be submitted for the token.
    case connect(UnsafeRawPointer, length: UInt32)
    /// Sends bytes that must not change until `sent` or `failed(.send)`. One send at a time per
    /// token. `sent` may count fewer bytes than submitted; the loop then sends the rest. Zero bytes
    /// are for datagram sockets only, as an empty datagram.
    case send(UnsafeRawBufferPointer)
    /// Ends a stream. Answered by `stopped`; until then, its completions continue. If the stream
    /// ends by itself first, that is its last completion and no `stopped` follows. Not submitted
    /// for a stream that is being stopped or has ended.
    case stop(StreamKind)
    /// Watches a stream socket without a receive for a reset by its peer. Answered by at most one
    /// `hungUp`. Ends without an answer when `receive` or `close` is submitted. An answer that is
    /// already queued may still follow a `receive`.
    case watch
    /// Sends the end of our side. Never submitted while a send is in flight. Not answered: the next
    /// operation reports a failure.
    case shutdownWrite
    /// Ends all operations in flight, closes the descriptor and answers `closed`, the token's last
    /// completion.
    case close
}

/// The kind of the operation that failed.
@usableFromInline
package enum OperationKind: UInt8, Sendable {
    case accept
    case receive
    case send
    case connect
    case datagrams
}
