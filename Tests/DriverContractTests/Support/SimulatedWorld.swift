import MillraceEventLoop
import MillraceSimulation
import MillraceTestSupport

/// The simulated driver, advanced by hand, so that a wait takes as long on the virtual clock as a
/// kernel's does on the real one.
final class SimulatedWorld: DriverWorld {
    let network: SimulatedNetwork
    let simulated: SimulatedDriver
    let sockets: any Sockets
    private var nextName = 0

    init(plan: FaultPlan, network: NetworkPlan = NetworkPlan(), seed: UInt64 = 1) {
        let network = SimulatedNetwork(seed: seed, plan: network)
        self.network = network
        simulated = SimulatedDriver(network: network, seed: seed + 1, plan: plan)
        sockets = SimulatedSockets(network: network)
    }

    var driver: any Driver { simulated }
    var clock: Nanoseconds { network.now }

    private struct Forever: Error {}

    func wait(until deadline: Nanoseconds?) throws {
        while true {
            let isWoken = simulated.wakeSignal.isMarked
            try simulated.wait(until: deadline)
            if isWoken || simulated.hasCompletions { return }
            if let deadline, deadline <= network.now { return }
            let times = [deadline, simulated.nextReadyTime, network.nextActionTime]
            guard let next = times.compactMap({ $0 }).min() else { throw Forever() }
            // Advances by at least 20 µs: with a thousand tokens, one completion at a time would be
            // a thousand waits.
            network.advance(to: min(max(next, network.now + 20_000), deadline ?? .max))
        }
    }

    func pause(_ time: Nanoseconds) { network.advance(to: network.now + time) }

    func elsewhere(
        _ count: Int, every interval: Nanoseconds, _ action: @escaping @Sendable () -> Void
    ) {
        for index in 1...count { network.schedule(after: interval * Int64(index), action) }
    }

    func address(_ transport: Transport) -> SocketAddress {
        switch transport {
        case .tcp: return .v4(IPv4Bytes(UInt32(0x7F00_0001).bigEndian), port: 0)
        case .unix:
            nextName += 1
            return .unix("contract-\(nextName)", abstract: true)
        }
    }

    func connect(to address: SocketAddress, smallBuffer: Bool) -> any TestPeer {
        let peer = network.connect(to: address)
        network.runDue()
        return SimulatedPeer(peer)
    }

    func exhaustDescriptors() { network.descriptorLimit = network.openDescriptors.count }
    func makeRoomForDescriptors(_ count: Int) { network.descriptorLimit += count }

    func complaints() -> [String] {
        let open = network.openDescriptors.map { "descriptor \($0.number) was left open" }
        return simulated.violations + network.violations + open
    }
}

private final class SimulatedPeer: TestPeer {
    private let peer: Peer

    init(_ peer: Peer) { self.peer = peer }

    var readLimit = 0 {
        didSet {
            peer.reading = readLimit == 0 ? nil : Peer.Pace(bytes: readLimit, every: 10_000)
        }
    }
    var received: [UInt8] { peer.received }
    var sentCount: Int { peer.sentCount }
    var sawEndOfStream: Bool { peer.sawEndOfStream }
    var sawReset: Bool { peer.sawReset }

    func send(_ bytes: [UInt8]) { peer.send(bytes) }
    func shutdownWrite() { peer.shutdownWrite() }
    func reset() { peer.reset() }
    func close() { peer.close() }
    func takeTurn() {
        // The peer acts when the network's clock moves.
    }
}
