internal import MillraceEventLoop
internal import MillraceSimulation
public import NetAPI

/// The other end of a connection: a client of the server, or a server that the handler connected
/// to. The test plays its part.
///
/// It reads everything at once, unless it is stalled or slow. Otherwise it does nothing by itself:
/// it does not even close after the server's end.
public final class TestPeer {
    /// The end of the stream, as the peer has seen it so far.
    public enum End: Sendable, Hashable {
        /// The connection is being made, or the server is busy with others.
        case connecting
        /// The server has not ended its side.
        case open
        /// The server has ended its side, and the peer has received every byte before that.
        case closed
        /// The connection was reset: bytes may be lost.
        case reset
        /// No server listens on the address.
        case refused
    }

    private let engine: Engine
    let core: Peer
    private let isUpstream: Bool
    private let fullWindow: Int?
    /// The window at the moment of a stall.
    private var openWindow: Int?
    private var taken = 0
    private var noted = 0
    /// Marks the readers of an earlier pace as outdated.
    private var paceNumber = 0
    private var onReceive: ((TestPeer, TestBytes) -> Void)?
    /// The number of sends and reads until the peer leaves by a fault.
    private var stepsUntilDeparture: Int?
    /// Whether the peer has left, by a step of the test or by `Faults.departures`.
    public private(set) var hasLeft = false
    private var hasFinished = false

    init(_ core: Peer, _ engine: Engine, window: Int? = nil, isUpstream: Bool = false) {
        self.core = core
        self.engine = engine
        self.isUpstream = isUpstream
        fullWindow = window
        let mixture = engine.mixture
        if engine.peerRandom.happens(mixture.slowReaders) {
            core.nextRead = { [weak engine] in engine?.drawPace(of: $0) ?? .unlimited }
        }
        if engine.peerRandom.happens(mixture.slowWriters) {
            core.nextWrite = { [weak engine] in engine?.drawPace(of: $0) ?? .unlimited }
        }
        if engine.peerRandom.happens(mixture.departures) {
            stepsUntilDeparture = engine.peerRandom.within(1...8)
        }
        core.reading = .unlimited
        core.onInput = { [weak self] _ in self?.noteInput() }
        engine.simulated.schedule(after: 0) { [self] in applyWindow() }
    }

    private func applyWindow() {
        if let fullWindow { core.window = fullWindow }
    }

    // MARK: Results

    /// All bytes received so far.
    public var received: TestBytes { TestBytes(core.received) }

    /// Returns the bytes received since the last call.
    public func take() -> TestBytes {
        defer { taken = core.received.count }
        return TestBytes(core.received[taken...])
    }

    /// The end of the stream, as the peer has seen it. A stalled peer sees it after `resume`.
    public var end: End {
        if core.state == .refused { return .refused }
        if core.sawReset { return .reset }
        if core.sawEndOfStream { return .closed }
        return core.state == .connecting ? .connecting : .open
    }

    /// The reason for which the other end closed this connection; nil while it is open there. Nil
    /// for peers over Unix sockets, which have no address to tell them apart.
    public var closeReason: Close? { engine.entry(port)?.reason.map { Close($0) } }

    /// The handle of this connection at the other end; nil before its `onOpen` and over Unix
    /// sockets. For writes from elsewhere, after which `settle` delivers them.
    public var handle: ConnectionHandle? { engine.entry(port)?.handle }

    /// Bytes that the peer has not read, because it is stalled or slow.
    public var unreadCount: Int { core.unreadCount }

    /// Bytes passed to `send` for which there is no room, because the other end does not read.
    public var unsentCount: Int { core.unsentCount }

    /// Whether `Faults.resets` has cut the connection.
    public var wasCut: Bool { core.wasCut }

    /// The port of the side that connected, which no other connection of the network has.
    private var port: UInt16? {
        (isUpstream ? core.remoteAddress : core.localAddress)?.port
    }

    // MARK: Sending

    /// Sends bytes in one piece, and runs everything that they cause.
    public func send(_ bytes: TestBytes) {
        guard !hasLeft else { return ignored("send") }
        precondition(!hasFinished, "a peer sends after its finish()")
        var bytes = bytes
        let leaves = countStep()
        if leaves { bytes = TestBytes(bytes.prefix(engine.peerRandom.within(0...bytes.count))) }
        note("sends \(bytes.count) bytes, \(bytes.shown(atMost: 40))")
        core.send(bytes.array)
        if leaves { depart() }
        engine.settle()
    }

    /// Sends text as UTF-8, like `send(_:)` for bytes.
    public func send(_ text: String) { send(TestBytes(text)) }

    /// Sends bytes of any kind, like `send(_:)` for `TestBytes`.
    public func send(_ bytes: some Sequence<UInt8>) { send(TestBytes(bytes)) }

    /// Sends each piece on its own: the server gets it, and answers, before the next.
    public func send(_ cut: Cut) { for piece in cut { send(piece) } }

    /// Ends the peer's side of the stream after all sent bytes; receiving goes on.
    public func finish() {
        guard !hasLeft else { return ignored("finish") }
        note("ends its side")
        hasFinished = true
        core.shutdownWrite()
        engine.settle()
    }

    /// Closes the connection. Bytes that it has not read make this a reset, like in the kernel.
    public func close() {
        guard !hasLeft else { return ignored("close") }
        note("closes")
        leave { $0.close() }
    }

    /// Resets the connection.
    public func reset() {
        guard !hasLeft else { return ignored("reset") }
        note("resets")
        leave { $0.reset() }
    }

    // MARK: Receiving

    /// Stops reading, and from now on holds only `window` more bytes. With zero the server can send
    /// no byte at all.
    public func stall(window: Int = 0) {
        guard !hasLeft else { return ignored("stall") }
        note("stalls")
        paceNumber += 1
        core.reading = nil
        openWindow = openWindow ?? core.window
        core.window = core.unreadCount + max(0, window)
        engine.settle()
    }

    /// Reads again, everything at once.
    public func resume() {
        guard !hasLeft else { return ignored("resume") }
        note("resumes")
        paceNumber += 1
        if let openWindow { core.window = openWindow }
        openWindow = nil
        core.reading = .unlimited
        engine.settle()
    }

    /// Reads at most `count` bytes, each time that `period` has passed; less than a microsecond
    /// counts as one. `resume` ends that.
    public func read(_ count: Int, every period: Duration) {
        guard !hasLeft else { return ignored("read") }
        note("reads \(count) bytes every \(period)")
        paceNumber += 1
        core.reading = nil
        // With a shorter one, time would stand still.
        readLater(count, max(1_000, Nanoseconds(period)), paceNumber)
    }

    private func readLater(_ count: Int, _ period: Nanoseconds, _ number: Int) {
        engine.schedule(after: period) { [weak self] in
            guard let self, number == paceNumber, !hasLeft else { return }
            core.read(atMost: count)
            noteInput()
            if end == .open { readLater(count, period, number) }
        }
    }

    /// Sets the closure that runs with the bytes of each read. It may send: it plays a client with
    /// a protocol. It replaces an earlier one.
    public func onReceive(_ body: @escaping (_ peer: TestPeer, _ bytes: TestBytes) -> Void) {
        onReceive = body
    }

    private func noteInput() {
        let bytes = TestBytes(core.received[noted...])
        noted = core.received.count
        if !bytes.isEmpty {
            note("receives \(bytes.count) bytes, \(bytes.shown(atMost: 40))")
            if countStep() { return depart() }
            onReceive?(self, bytes)
        }
        if end == .closed || end == .reset { note("sees the end: \(end)") }
    }

    // MARK: Leaving

    private func leave(_ how: (Peer) -> Void) {
        hasLeft = true
        how(core)
        engine.settle()
    }

    private func countStep() -> Bool {
        guard let steps = stepsUntilDeparture, !hasLeft else { return false }
        stepsUntilDeparture = steps > 1 ? steps - 1 : nil
        return steps == 1
    }

    private func depart() {
        hasLeft = true
        switch engine.peerRandom.within(0...2) {
        case 0:
            note("departs with a close")
            core.close()
        case 1:
            note("departs with a reset")
            core.reset()
        default:
            note("departs with an end of its side")
            if !hasFinished { core.shutdownWrite() }
        }
    }

    private func note(_ line: String) {
        engine.note("peer :\(port.map { "\($0)" } ?? "?") \(line)")
    }

    private func ignored(_ step: String) { note("has left: no \(step)") }
}
