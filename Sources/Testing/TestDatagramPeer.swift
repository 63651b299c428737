internal import MillraceEventLoop
internal import MillraceSimulation
public import NetAPI

/// A peer of a `udp://` listener, with an address of its own.
public final class TestDatagramPeer {
    private let engine: Engine
    private let core: SimulatedDatagramPeer
    private let target: SocketAddress
    private var taken = 0

    init(_ engine: Engine, to target: SocketAddress) {
        self.engine = engine
        self.target = target
        let core = engine.simulated.makeDatagramPeer()
        self.core = core
        core.onArrival = { [weak engine] bytes in
            engine?.note(
                "peer :\(core.address.port ?? 0) receives a datagram, "
                    + TestBytes(bytes).shown(atMost: 40))
        }
    }

    /// The address of the peer.
    public var address: Address { Address(core.address, isDatagram: true) }

    /// The datagrams received so far, in the order of their arrival.
    public var received: [TestBytes] { core.received.map { TestBytes($0) } }

    /// The addresses that sent them, in the same order.
    public var senders: [Address] { core.senders.map { Address($0, isDatagram: true) } }

    /// Returns the datagrams received since the last call.
    public func take() -> [TestBytes] {
        defer { taken = core.received.count }
        return core.received[taken...].map { TestBytes($0) }
    }

    /// Sends a datagram of at most 65,507 bytes, and runs everything that it causes.
    public func send(_ bytes: TestBytes) {
        precondition(bytes.count <= 65_507, "a datagram of \(bytes.count) bytes is too long")
        engine.note(
            "peer :\(core.address.port ?? 0) sends a datagram, \(bytes.shown(atMost: 40))")
        core.send(bytes.array, to: target, after: 0)
        engine.settle()
    }

    /// Sends text as UTF-8, like `send(_:)` for bytes.
    public func send(_ text: String) { send(TestBytes(text)) }
}
