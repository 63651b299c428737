import Glibc
import MillraceEventLoop

/// A host's network without a kernel: a clock that moves only on request, descriptors, listeners,
/// and peers that connect to them. The same seed and the same calls give the same run.
///
/// Nothing happens by itself. `advance(to:)` moves the clock and lets peers act. A driver's `wait`
/// lets them act at the present time.
// Unchecked: one thread steps it.
package final class SimulatedNetwork: @unchecked Sendable {
    package private(set) var now: Nanoseconds = 1_000_000_000
    package let plan: NetworkPlan
    /// Every peer that ever connected, in order.
    package private(set) var peers: [Peer] = []
    /// Uses of descriptors for which a kernel would return EBADF or, worse, use another socket.
    package internal(set) var violations: [String] = []
    /// The most descriptors that may be open at once; further ones fail with EMFILE.
    package var descriptorLimit = 1 << 20
    /// Whether sockets for IPv6 are allowed.
    package var hasV6 = true

    var random: SeededRandom
    var listeners: [SimulatedListener] = []
    var datagramSockets: [SimulatedDatagramSocket] = []
    var datagramPeers: [SimulatedDatagramPeer] = []
    /// The scripted servers, by their addresses.
    package internal(set) var upstreams: [SocketAddress: SimulatedUpstream] = [:]
    var nextPort: UInt16 = 40_000
    var nextInode: UInt64 = 1
    private var nextPeerPort: UInt16 = 50_000
    private var timetable = Timetable()
    private var sockets: [SimulatedSocket?] = Array(repeating: nil, count: firstNumber)
    private var openCount = 0
    /// A lower bound: no descriptor number below it is free.
    private var lowestFree = firstNumber

    /// The first number for a socket: the three below are standard input, output and error.
    private static let firstNumber = 3
    /// The time after which a connect to a full backlog is tried again, like a SYN.
    private static let connectRetry: Nanoseconds = 1_000_000

    package init(seed: UInt64, plan: NetworkPlan = NetworkPlan()) {
        random = SeededRandom(seed: seed)
        self.plan = plan
    }

    // MARK: Time

    package func schedule(after delay: Nanoseconds, _ action: @escaping () -> Void) {
        timetable.add(at: now + max(0, delay), action)
    }

    /// The time at which the next scheduled action is due, or nil.
    package var nextActionTime: Nanoseconds? { timetable.nextTime }

    /// Moves the clock forward. Actions that become due run at their own time.
    package func advance(to time: Nanoseconds) {
        while let due = timetable.takeFirst(by: time) {
            now = max(now, due.time)
            due.action()
        }
        now = max(now, time)
    }

    package func runDue() { advance(to: now) }

    // MARK: Peers

    /// Creates a peer that connects after `delay`. Bytes passed to its `send` before that leave
    /// when it is connected. `host` is the peer's own, which is the same machine by default.
    package func connect(
        to address: SocketAddress, from host: SocketAddress? = nil, after delay: Nanoseconds = 0
    ) -> Peer {
        let peer = Peer(network: self)
        peers.append(peer)
        schedule(after: delay) { self.attempt(peer, address, host) }
        return peer
    }

    private func attempt(_ peer: Peer, _ address: SocketAddress, _ host: SocketAddress?) {
        guard peer.state == .connecting else { return }
        switch joinListener(at: address, from: host) {
        case .joined(let client): peer.establish(client)
        case .full: schedule(after: Self.connectRetry) { self.attempt(peer, address, host) }
        case .nobody: peer.refuse()
        }
    }

    enum Joining {
        /// The connecting end; the other one waits in a backlog.
        case joined(Endpoint)
        case full
        case nobody
    }

    func joinListener(at address: SocketAddress, from host: SocketAddress? = nil) -> Joining {
        let open = listeners.filter { $0.answers(address) }
        guard !open.isEmpty else { return .nobody }
        let listener = random.pick(open)
        if listener.isFull { return .full }
        let (server, client) = makeStream(
            to: address, from: host, isFromLoop: false)
        listener.enqueue(server)
        return .joined(client)
    }

    /// Makes both ends of a stream. `isFromLoop`: a loop connects to a peer, not a peer to a loop.
    func makeStream(
        to address: SocketAddress, from host: SocketAddress? = nil, isFromLoop: Bool
    ) -> (server: Endpoint, client: Endpoint) {
        let own = peerAddress(for: address)
        let source = host?.sharingPort(of: own) ?? own
        // A reset drops a peer's unread bytes, which is the worst case that a kernel allows.
        let server = Endpoint(
            local: address, remote: source, capacity: random.within(plan.capacity),
            resetKeepsInput: !isFromLoop && random.happens(plan.resetsKeepInput))
        let client = Endpoint(
            local: source, remote: address, capacity: random.within(plan.capacity),
            resetKeepsInput: isFromLoop && random.happens(plan.resetsKeepInput))
        Endpoint.join(server, client)
        return (server, client)
    }

    /// Makes a peer of the end of a stream that a loop has connected.
    func accept(_ endpoint: Endpoint) -> Peer {
        let peer = Peer(network: self)
        peers.append(peer)
        peer.establish(endpoint)
        return peer
    }

    /// Connects an unconnected socket for a script, like a kernel before it reports the connect.
    package func establish(_ descriptor: Descriptor, with address: SocketAddress) {
        guard case .joined(let endpoint) = joinListener(at: address) else { return }
        socket(descriptor, for: "connect")?.kind = .stream(endpoint)
    }

    /// Connects a socket to itself, like a kernel that assigns it the port that it connects to.
    package func establishWithItself(_ descriptor: Descriptor, at address: SocketAddress) {
        socket(descriptor, for: "connect")?.kind = .stream(
            Endpoint(local: address, remote: address, capacity: 1, resetKeepsInput: false))
    }

    func peerAddress(for address: SocketAddress) -> SocketAddress {
        defer { nextPeerPort = nextPeerPort == .max ? 50_000 : nextPeerPort + 1 }
        return switch address {
        case .v4: .v4(IPv4Bytes(UInt32(0x7F00_0001).bigEndian), port: nextPeerPort)
        case .v6: .v6(IPv6Bytes(high: 0, low: UInt64(1).bigEndian), port: nextPeerPort, scope: 0)
        case .unix: .unix("", abstract: false)
        }
    }

    // MARK: Descriptors

    /// Returns whether the close of a descriptor was to be a reset.
    package func resetsOnClose(_ descriptor: Descriptor) -> Bool {
        socket(descriptor, for: "close")?.resetsOnClose ?? false
    }

    /// Descriptors that are not closed.
    package var openDescriptors: [Descriptor] {
        sockets.compactMap { $0.map { Descriptor($0.number) } }
    }

    var hasRoomForDescriptor: Bool { openCount < descriptorLimit }

    /// Opens the lowest free number, like the kernel: immediate reuse is the danger of stale
    /// numbers.
    func open(_ kind: SimulatedSocket.Kind) -> Descriptor {
        var free = lowestFree
        while free < sockets.count, sockets[free] != nil { free += 1 }
        lowestFree = free + 1
        if free == sockets.count { sockets.append(nil) }
        sockets[free] = SimulatedSocket(number: CInt(free), kind: kind)
        openCount += 1
        return Descriptor(CInt(free))
    }

    /// Returns the socket of an open descriptor. A descriptor that is not open is recorded as a
    /// violation.
    func socket(_ descriptor: Descriptor, for use: String) -> SimulatedSocket? {
        let index = Int(descriptor.number)
        if sockets.indices.contains(index), let socket = sockets[index] { return socket }
        violations.append("\(use) on descriptor \(index), which is not open")
        return nil
    }

    func close(_ socket: SimulatedSocket) {
        guard sockets[Int(socket.number)] === socket else {
            violations.append("descriptor \(socket.number) closed twice")
            return
        }
        sockets[Int(socket.number)] = nil
        lowestFree = min(lowestFree, Int(socket.number))
        openCount -= 1
        if case .listener(let listener) = socket.kind {
            listeners.removeAll { $0 === listener }
        }
        if case .datagrams(let bound) = socket.kind {
            datagramSockets.removeAll { $0 === bound }
        }
        socket.close()
    }
}
