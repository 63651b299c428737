import EventLoop
import Glibc

/// Datagrams of the simulated network: bound sockets, and peers who send to them.

/// What one receive brings.
package struct DatagramArrival {
    var bytes: [UInt8]
    let sender: SocketAddress
    /// Where it was sent to, if the socket has every address.
    var asked: SocketAddress?
    /// The size of the parts, if these are several datagrams.
    var segmentSize = 0
}

extension DatagramArrival {
    /// A single one, of a socket that is bound to one address.
    package init(_ bytes: [UInt8], from sender: SocketAddress) {
        self.init(bytes: bytes, sender: sender)
    }
}

/// A bound socket, and what has come to it.
final class SimulatedDatagramSocket {
    let address: SocketAddress
    private let isCoalescing: Bool
    /// Told of a new datagram.
    var onChange: (() -> Void)?
    private var waiting: [DatagramArrival] = []

    /// More are lost, as in a kernel whose buffer is full.
    private static let most = 256
    /// What one receive may bring.
    static let largest = 65_507

    init(address: SocketAddress, isCoalescing: Bool) {
        self.address = address
        self.isCoalescing = isCoalescing
    }

    var hasWaiting: Bool { !waiting.isEmpty }

    func answers(_ target: SocketAddress) -> Bool {
        address == target || (address.isWildcard && address.port == target.port)
    }

    func arrive(_ bytes: [UInt8], from sender: SocketAddress, at target: SocketAddress) {
        guard waiting.count < Self.most else { return }
        waiting.append(
            DatagramArrival(
                bytes: bytes, sender: sender, asked: address.isWildcard ? target : nil))
        onChange?()
    }

    /// The next one, with those behind it that a kernel would have kept together with it.
    func take() -> DatagramArrival? {
        guard !waiting.isEmpty else { return nil }
        var first = waiting.removeFirst()
        let size = first.bytes.count
        guard isCoalescing, size > 0 else { return first }
        while let next = waiting.first, next.sender == first.sender, next.asked == first.asked,
            !next.bytes.isEmpty,
            next.bytes.count <= size, first.bytes.count % size == 0,
            first.bytes.count + next.bytes.count <= Self.largest
        {
            first.segmentSize = size
            first.bytes += next.bytes
            waiting.removeFirst()
        }
        return first
    }
}

/// Where a driver lends a datagram from: one at a time.
struct LentDatagram: ~Copyable {
    private let bytes = UnsafeMutableRawBufferPointer.allocate(
        byteCount: SimulatedDatagramSocket.largest, alignment: 16)
    private let datagram = UnsafeMutablePointer<ReceivedDatagram>.allocate(capacity: 1)
    private var sender: UnsafeMutableRawBufferPointer?
    private var count = 0

    deinit {
        sender?.deallocate()
        bytes.deallocate()
        datagram.deallocate()
    }

    mutating func lend(
        _ arrival: DatagramArrival
    ) -> UnsafePointer<ReceivedDatagram> {
        count = arrival.bytes.count
        bytes.copyBytes(from: arrival.bytes)
        let name =
            try? arrival.asked.map { try arrival.sender.kernelCopy(asking: $0) }
            ?? arrival.sender.kernelCopy()
        sender = name
        datagram.initialize(
            to: ReceivedDatagram(
                bytes: UnsafeRawBufferPointer(rebasing: bytes[..<count]),
                sender: UnsafeRawBufferPointer(name ?? .init(start: nil, count: 0)),
                isTruncated: false, segmentSize: arrival.segmentSize))
        return UnsafePointer(datagram)
    }

    /// Whoever still looks at it sees that it is over.
    mutating func end(poison: UInt8) {
        if count > 0, let start = bytes.baseAddress { memset(start, Int32(poison), count) }
        count = 0
        sender?.deallocate()
        sender = nil
    }
}

/// Somebody with a UDP socket.
package final class SimulatedDatagramPeer {
    package let address: SocketAddress
    /// What came, in the order in which it came.
    package private(set) var received: [[UInt8]] = []
    /// From where, in the same order.
    package private(set) var senders: [SocketAddress] = []
    private unowned let network: SimulatedNetwork

    init(address: SocketAddress, network: SimulatedNetwork) {
        self.address = address
        self.network = network
    }

    /// After `delay`; lost if nobody listens then.
    package func send(_ bytes: [UInt8], to target: SocketAddress, after delay: Nanoseconds) {
        network.schedule(after: delay) { [self] in
            network.deliver(bytes, from: address, to: target)
        }
    }

    func arrive(_ bytes: [UInt8], from sender: SocketAddress) {
        received.append(bytes)
        senders.append(sender)
    }
}

extension SimulatedNetwork {
    /// A peer with an address of its own.
    package func makeDatagramPeer() -> SimulatedDatagramPeer {
        let peer = SimulatedDatagramPeer(
            address: peerAddress(for: .v4(IPv4Bytes(0), port: 0)), network: self)
        datagramPeers.append(peer)
        return peer
    }

    /// Puts a datagram where it belongs; nowhere if nobody has the address.
    func deliver(_ bytes: [UInt8], from sender: SocketAddress, to target: SocketAddress) {
        if let peer = datagramPeers.first(where: { $0.address == target }) {
            return peer.arrive(bytes, from: sender)
        }
        let open = datagramSockets.filter { $0.answers(target) }
        // Among those that share a port always the same for one sender, as in the kernel.
        guard !open.isEmpty else { return }
        open[Int(sender.port ?? 0) % open.count].arrive(bytes, from: sender, at: target)
    }

    /// What the kernel does with datagrams that a loop sends.
    func send(
        _ datagrams: UnsafeBufferPointer<OutgoingDatagram>, from sender: SocketAddress,
        _ form: DatagramForm
    ) -> DatagramsSent {
        var result = DatagramsSent()
        while result.count < datagrams.count {
            let rest = UnsafeBufferPointer(rebasing: datagrams[result.count...])
            let bundle = form == .bundled ? Self.bundleSize(rest) : 1
            if let error = refusal(of: bundle) {
                // Told by the next call, when this one has taken some.
                guard result.count == 0 else { return result }
                result.error = error
                result.refused = bundle
                return result
            }
            for datagram in rest.prefix(bundle) { leave(datagram, from: sender, form) }
            result.count += bundle
            if bundle > 1 { result.bundles += 1 }
        }
        return result
    }

    private func refusal(of bundle: Int) -> Int32? {
        if bundle > 1 && random.happens(plan.bundleRefusals) {
            return random.pick([EIO, EINVAL, EMSGSIZE])
        }
        guard random.happens(plan.datagramErrors) else { return nil }
        return random.pick([EAGAIN, ENOBUFS, ECONNREFUSED] + (bundle == 1 ? [EMSGSIZE] : []))
    }

    private func leave(
        _ datagram: OutgoingDatagram, from sender: SocketAddress, _ form: DatagramForm
    ) {
        guard let target = SocketAddress(kernelForm: datagram.name) else {
            return violations.append("a datagram to nowhere")
        }
        let source = SocketAddress(askedBehind: datagram.name, port: sender.port ?? 0)
        if source != nil && form == .plain { violations.append("a source that nobody looks at") }
        // Copied now: the loop's memory is its own again when the call returns.
        let bytes = Array(datagram.bytes)
        schedule(after: random.within(plan.latency)) { [self] in
            deliver(bytes, from: source ?? sender, to: target)
        }
    }

    private static func bundleSize(_ datagrams: UnsafeBufferPointer<OutgoingDatagram>) -> Int {
        let first = datagrams[0]
        guard first.bytes.count > 0 else { return 1 }
        let matching = datagrams.prefix {
            $0.bytes.count == first.bytes.count && $0.name.elementsEqual(first.name)
        }
        return max(1, min(matching.count, SimulatedDatagramSocket.largest / first.bytes.count))
    }
}
