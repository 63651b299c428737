/// The state of a connection with a filter: the filter, and the sealed bytes that are not sent yet.
///
/// The connection's own queue holds the handler's bytes, which are sealed as the wire's queue
/// empties. So the marks, limits and promises count the handler's bytes, and small writes of one
/// callback share a record.
package final class FilterState {
    /// Nil until the handshake's turn, which with an accepted connection begins with its first
    /// bytes.
    @exclusivity(unchecked) package internal(set) var filter: (any StreamFilter)?
    /// Sealed bytes, the only ones that the driver gets.
    @exclusivity(unchecked) var wire = OutboundQueue()
    /// The number of the handler's bytes that were sealed, now and when the wire's queue was last
    /// empty.
    @exclusivity(unchecked) var sealedTotal = 0
    @exclusivity(unchecked) private var sentTotal = 0
    let provider: any FilterProvider
    /// Makes the filter; nil when it has.
    @exclusivity(unchecked) private var make: (() throws -> any StreamFilter)?
    /// The deadline of the handshake.
    let deadline: Nanoseconds
    @exclusivity(unchecked) var turnBegan: Nanoseconds = 0
    /// The error of a wire that ended before the peer's stream.
    @exclusivity(unchecked) var cut: (any Error)?
    /// The wire's bytes that wait for the handshake's turn, or for a computation.
    @exclusivity(unchecked) var held: [UInt8] = []
    /// Called when the handshake of an open connection has succeeded; nil for a new connection.
    @exclusivity(unchecked) var secured: (() throws -> Void)?
    // Small fields together, so that they share a word.
    /// We made the connection.
    let isOwn: Bool
    /// Waits for its turn. A peer that says nothing does not.
    @exclusivity(unchecked) var isQueued = false
    /// Counted among the loop's handshakes.
    @exclusivity(unchecked) var hasTurn = false
    @exclusivity(unchecked) package internal(set) var isEstablished = false
    /// The peer has ended its stream, or no more of it can be opened. Further bytes of the wire are
    /// dropped.
    @exclusivity(unchecked) var isInputOver = false
    /// Our end is sealed, or nothing more can be sealed.
    @exclusivity(unchecked) var isOutputOver = false
    /// Our end is on the wire, or the wire is broken: further bytes for it are dropped.
    @exclusivity(unchecked) var dropsOutput = false
    /// Bytes or our end wait until more of the wire was opened, which is read even in a pause.
    @exclusivity(unchecked) var awaitsInput = false
    /// The filter computes on another thread and must not be called.
    @exclusivity(unchecked) var isWorking = false
    /// The computation has ended, and the filter waits for its next call.
    @exclusivity(unchecked) var hasWorked = false
    private let chunks: ChunkPool

    init(
        _ provider: any FilterProvider, isOwn: Bool, deadline: Nanoseconds, _ chunks: ChunkPool,
        make: @escaping () throws -> any StreamFilter
    ) {
        self.provider = provider
        self.isOwn = isOwn
        self.make = make
        self.deadline = deadline
        self.chunks = chunks
    }

    func makeFilter() throws -> any StreamFilter {
        guard let make else { preconditionFailure("a second filter of one connection") }
        self.make = nil
        let made = try make()
        filter = made
        return made
    }

    /// Takes over the unsent bytes of a connection that had no filter until now. They go out as
    /// they are.
    func takeOver(_ connection: ConnectionReference) {
        swap(&wire, &connection.outbound)
        sentTotal = connection.sentTotal
        sealedTotal = connection.sentTotal + wire.count
    }

    // The driver no longer uses the memory: see `Loop.closed`.
    deinit { wire.clear(chunks) }

    /// The number of the handler's bytes that are sealed and not sent, at most. Bytes of the filter
    /// itself count above this number, since a peer can cause any number of answers.
    var unsentCount: Int {
        let handlers = min(wire.count, sealedTotal - sentTotal)
        return handlers + max(0, wire.count - handlers - Self.freeBytes)
    }

    private static var freeBytes: Int { 16_384 }

    func wireIsEmpty() { sentTotal = sealedTotal }

    /// The wire's queue in the form for the filter.
    var output: WireOutput { WireOutput(self, chunks) }
}

/// The handshakes of a loop. Only so many have a filter at once, since a filter in its handshake
/// needs several times the memory of an idle one.
struct Handshakes: ~Copyable {
    /// The number of connections between the start of their handshake and its end.
    private(set) var running = 0
    private var waiting = Fifo<Token>(capacity: 16)

    /// The number of connections that wait for a turn, those included that closed meanwhile.
    var waitingCount: Int { waiting.count }

    /// Returns the next connection in turn, if fewer than `limit` are running.
    mutating func next(limit: Int) -> Token? {
        guard running < limit, let token = waiting.popFirst() else { return nil }
        running += 1
        return token
    }

    /// Takes a turn at once. If others wait or `limit` are running, waits for it and returns false.
    mutating func take(_ token: Token, limit: Int) -> Bool {
        guard waiting.isEmpty, running < limit else {
            waiting.append(token)
            return false
        }
        running += 1
        return true
    }

    mutating func ended() { running -= 1 }
}
