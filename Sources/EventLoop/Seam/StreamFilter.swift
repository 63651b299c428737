/// The seam between the loop and a protocol below the handler's bytes, such as TLS: a filter per
/// connection turns the wire's bytes into the handler's, and back.
///
/// A filter has no socket, no clock and no thread. It gets bytes and appends bytes, so two of them
/// can be connected by a test. Called on the loop's thread, and never inside a call to itself.
package protocol StreamFilter: AnyObject {
    /// Called once, before any other call. A client's filter appends its first bytes.
    func start(_ wire: WireOutput)

    /// Takes bytes of the wire and stores those for the handler in `plain`. Bytes that wait for
    /// more of the wire are taken and kept in the filter.
    ///
    /// The filter may take a part only. It may keep opened bytes for the next call only if it
    /// returns an event or has filled `plain`; then it is called again, if need be without bytes.
    /// Not called after `ended` or `failed`.
    func open(
        _ sealed: UnsafeRawBufferPointer, into plain: UnsafeMutableRawBufferPointer,
        _ wire: WireOutput
    ) -> Opened

    /// Appends the wire's form of the handler's bytes. Called only between `established` and
    /// `sealEnd`. Seals all of them or none.
    func seal(_ plain: UnsafeRawBufferPointer, _ wire: WireOutput) -> Sealed

    /// Appends the wire's form of our end. Called again after `later`.
    func sealEnd(_ wire: WireOutput) -> Sealed

    /// Called when the wire ends after `established` and before the peer's end of stream. Returns
    /// the error, or nil if the end is as good as the peer's.
    func cutOff() -> (any Error)?
}

/// The result of `StreamFilter.seal` and `sealEnd`.
package enum Sealed {
    case done
    /// The peer is in the middle of a message. The same bytes, or our end, can be sealed when more
    /// bytes of the wire were opened.
    case later
    /// Nothing more can be sealed.
    case failed(any Error)
}

/// The result of `StreamFilter.open`.
package struct Opened {
    /// The number of the wire's bytes that the filter has taken.
    package var taken = 0
    /// The number of bytes stored for the handler. They come before the event.
    package var plain = 0
    package var event: FilterEvent?

    package init() {}
}

package enum FilterEvent {
    /// The handler's bytes can be exchanged from now on.
    case established
    /// The peer has ended its stream.
    case ended
    /// The stream is useless. Bytes that the filter has appended tell the peer.
    case failed(any Error)
    /// A long computation is due, which may run on another thread. The filter is not called until
    /// it has run; then `open` is called, if need be without bytes.
    case working(@Sendable () -> Void)
    /// The bytes of a PROXY header are taken. The loop replaces the filter by what lies behind it.
    case proxied(ProxyHeader, behind: StreamLayers)
}

/// The connection's queue of bytes for the wire, in the form for its filter.
package struct WireOutput {
    // Used within one call of the filter, while the loop holds both.
    private unowned(unsafe) let state: FilterState
    // Used within one call of the filter too.
    private unowned(unsafe) let chunks: ChunkPool

    init(_ state: FilterState, _ chunks: ChunkPool) {
        self.state = state
        self.chunks = chunks
    }

    package func append(_ bytes: UnsafeRawBufferPointer) {
        // Behind our end on the wire no bytes can follow: answers that the peer's bytes request.
        guard !state.dropsOutput else { return }
        state.wire.append(bytes, chunks)
    }
}

/// Makes the filters of accepted connections. May be called by several loops at once.
package protocol AcceptingFilters: FilterProvider {
    func accepting(on loop: Int) -> any StreamFilter
}

/// Makes the filters of connections that we make to a name, or to an address alone. May be called
/// by several loops at once.
package protocol ConnectingFilters: FilterProvider {
    func connecting(to peer: FilterPeer, on loop: Int) throws -> any StreamFilter
}

/// The rules for the handshakes of filters.
package protocol FilterProvider: Sendable {
    /// The longest time from the accept, or from the established connection, to `established`.
    var handshakeTimeout: Nanoseconds { get }
    /// The number of a loop's connections that may be between their start and `established`.
    /// Others wait their turn, with the same time-out.
    var handshakesAtOnce: Int { get }
    /// The pool that runs the computations of `working`; nil: the loop runs them.
    var workers: WorkerPool? { get }
    /// Handshakes are counted, and wait for their turn. A PROXY header is none.
    var takesTurns: Bool { get }
}

extension FilterProvider {
    package var takesTurns: Bool { true }
}

/// The peer of a connection that we make, as the program has named it.
package struct FilterPeer: Sendable, Hashable {
    /// The name to verify; nil: the address is verified.
    package let name: String?
    package let address: SocketAddress

    package init(name: String?, address: SocketAddress) {
        self.name = name
        self.address = address
    }
}
