/// The operations that go on until stopped: each yields any number of completions.
@usableFromInline
package enum StreamKind: UInt8, Sendable {
    case accept
    case receive
    case datagrams
}

/// What a loop may ask of a driver, as data: at most 24 bytes, no reference.
@usableFromInline
package enum Operation {
    /// Accepts on a listening descriptor until stopped or `failed(.accept)`.
    case accept
    /// Receives until stopped, `endOfStream` or `failed(.receive)`. Never asked for again before
    /// the previous stream's last word has been pulled.
    case receive
    /// As `receive`, of a socket whose messages have bounds and senders. An empty one is no end.
    case receiveDatagrams
    /// Connects to an address in the kernel's form, which stays put until the `connected` or
    /// `failed(.connect)` that answers. Before anything else is asked of the token but `close`.
    case connect(UnsafeRawPointer, length: UInt32)
    /// Sends bytes that stay put until the `sent` or `failed(.send)` that answers. One at a time
    /// per token. The answer may tell of fewer bytes than asked for; the rest is the loop's to send
    /// again. None only of a datagram socket, as an empty datagram.
    case send(UnsafeRawBufferPointer)
    /// Ends a stream. Answered by `stopped`; until then, its completions keep coming.
    /// If the stream ends by itself first, that end is its last word and no `stopped` follows. Not
    /// asked of a stream that is being stopped, or whose last word has been pulled.
    case stop(StreamKind)
    /// Watches a stream socket that nobody receives from, for a reset by its peer. Answered by at
    /// most one `hungUp`. Ends without an answer when `receive` or `close` is submitted, but an
    /// answer that is on its way by then may still come after `receive`.
    case watch
    /// Sends the end of our side. Never while a send is in flight. Not answered: a failure shows in
    /// the next operation.
    case shutdownWrite
    /// Ends everything in flight, closes the descriptor and answers `closed`, the token's last
    /// word.
    case close
}

/// Names the operation that failed.
@usableFromInline
package enum OperationKind: UInt8, Sendable {
    case accept
    case receive
    case send
    case connect
    case datagrams
}
