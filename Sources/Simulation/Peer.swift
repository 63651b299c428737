import MillraceEventLoop

/// A client of the simulated network, which records the bytes that it sent, received and lost.
///
/// A script controls it step by step, or it reads and writes by itself at a set pace.
package final class Peer {
    package enum State { case connecting, connected, refused, closed }

    /// The most bytes of one read or write, and the time until the next one.
    package struct Pace: Sendable {
        package let bytes: Int
        package let every: Nanoseconds

        package init(bytes: Int, every: Nanoseconds) {
            self.bytes = bytes
            self.every = every
        }

        package static let unlimited = Pace(bytes: .max, every: 0)
    }

    package private(set) var state = State.connecting
    package private(set) var received: [UInt8] = []
    /// Bytes that have left: the server can read them, or has read them.
    package private(set) var sentCount = 0
    package private(set) var sawEndOfStream = false
    package private(set) var sawReset = false
    /// Called after each turn in which the peer read bytes or saw an end. A handler can answer
    /// here.
    package var onInput: ((Peer) -> Void)?
    /// The pace at which the peer reads by itself; nil if it never does. Slow readers have a pace.
    package var reading: Pace? { didSet { wake() } }
    package var writing = Pace.unlimited { didSet { wake() } }
    /// Return the pace of one read or write, by the bytes that wait for it, in place of `reading`
    /// and `writing`. So a seed can cut a stream in pieces of any sizes.
    package var nextRead: ((_ waiting: Int) -> Pace)?
    package var nextWrite: ((_ waiting: Int) -> Pace)?

    private unowned let network: SimulatedNetwork
    private var endpoint: Endpoint?
    private var outbox = BytePipe(capacity: .max)
    private var endsWhenSent = false
    private var isAwake = false
    private var hasNextRead = false
    private var readsFrom: Nanoseconds = 0
    private var writesFrom: Nanoseconds = 0

    init(network: SimulatedNetwork) { self.network = network }

    package var localAddress: SocketAddress? { endpoint?.local }
    package var remoteAddress: SocketAddress? { endpoint?.remote }
    /// The unread bytes that this side holds, at most; the server cannot send more.
    package var window: Int {
        get { endpoint?.incoming.capacity ?? 0 }
        set { endpoint?.setCapacity(newValue) }
    }
    /// Bytes passed to `send` that have not left.
    package var unsentCount: Int { outbox.count }
    /// Bytes that the server's kernel had accepted, and that a reset dropped before they were read
    /// here.
    package var lostCount: Int { endpoint?.lostCount ?? 0 }
    /// Whether the reset was a fault of the network: neither side requested it.
    package var wasCut: Bool { endpoint?.isCut ?? false }
    /// Bytes that wait to be read here.
    package var unreadCount: Int { endpoint?.incoming.count ?? 0 }
    package var isOver: Bool { sawEndOfStream || sawReset || state == .refused || state == .closed }

    // MARK: Actions

    /// Sends bytes in order. Bytes without room leave when there is room.
    package func send(_ bytes: [UInt8]) {
        precondition(!endsWhenSent, "this peer has ended its side")
        _ = bytes.withUnsafeBytes { outbox.append($0) }
        flush()
    }

    /// Reads the bytes that are there, at most `limit`, and notes an end.
    @discardableResult
    package func read(atMost limit: Int = .max) -> [UInt8] {
        guard state == .connected, let endpoint, !sawEndOfStream, !sawReset else { return [] }
        switch endpoint.read(atMost: limit) {
        case .bytes(let bytes):
            received += bytes
            return bytes
        case .end: sawEndOfStream = true
        case .failed: sawReset = true
        case .nothing: break
        }
        return []
    }

    /// Shuts down the sending side after all bytes passed to `send`.
    package func shutdownWrite() {
        endsWhenSent = true
        flush()
    }

    package func reset() { leave(reset: true) }

    /// Closes the connection. Unread input makes this a reset, and bytes that have not left are
    /// never sent.
    package func close() { leave(reset: false) }

    /// Runs `action` after `delay`, unless the peer has left or was refused by then.
    package func after(_ delay: Nanoseconds, _ action: @escaping (Peer) -> Void) {
        network.schedule(after: delay) { [self] in
            if state == .connecting || state == .connected { action(self) }
        }
    }

    // MARK: Events

    func refuse() { state = .refused }

    func establish(_ endpoint: Endpoint) {
        self.endpoint = endpoint
        state = .connected
        endpoint.onChange = { [unowned self] in wake() }
        flush()
        wake()
    }

    private func leave(reset: Bool) {
        noteReset()
        state = .closed
        endpoint?.close(reset: reset)
    }

    private func wake() {
        guard !isAwake, state == .connected else { return }
        isAwake = true
        network.schedule(after: network.random.within(network.plan.latency)) { [self] in
            isAwake = false
            turn()
        }
    }

    private func turn() {
        guard state == .connected else { return }
        noteReset()
        flush()
        let before = received.count
        let wasOver = isOver
        readAtPace()
        if received.count > before || isOver != wasOver { onInput?(self) }
    }

    private func readAtPace() {
        guard let reading, let endpoint, endpoint.isReadable, !isOver else { return }
        if network.now >= readsFrom {
            let pace = nextRead?(endpoint.incoming.count) ?? reading
            read(atMost: pace.bytes)
            while pace.every == 0 && endpoint.incoming.count > 0 { read(atMost: pace.bytes) }
            // An end after the last byte is seen with that byte.
            if endpoint.incoming.count == 0 && endpoint.isReadable { read(atMost: 1) }
            readsFrom = network.now + pace.every
        }
        guard endpoint.isReadable, !isOver, !hasNextRead else { return }
        hasNextRead = true
        network.schedule(after: readsFrom - network.now) { [self] in
            hasNextRead = false
            turn()
        }
    }

    private func noteReset() {
        if endpoint?.isReset == true { sawReset = true }
    }

    private func flush() {
        guard state == .connected, let endpoint else { return }
        while outbox.count > 0, network.now >= writesFrom {
            let pace = nextWrite?(outbox.count) ?? writing
            let share = min(pace.bytes, outbox.count)
            let outcome = outbox.withBytes {
                endpoint.write(UnsafeRawBufferPointer(rebasing: $0.prefix(share)))
            }
            guard case .taken(let taken) = outcome else {
                noteReset()
                return
            }
            outbox.drop(taken)
            sentCount += taken
            guard pace.every > 0 else { continue }
            writesFrom = network.now + pace.every
            network.schedule(after: pace.every) { [self] in flush() }
        }
        if endsWhenSent && outbox.count == 0 { endpoint.shutdownWrite() }
    }
}
