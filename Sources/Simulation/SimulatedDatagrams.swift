import Glibc
import MillraceEventLoop

/// Datagrams of the simulated network: bound sockets, and peers that send to them.

/// The datagram, or several coalesced ones, of one receive.
package struct DatagramArrival {
    var bytes: [UInt8]
    let sender: SocketAddress
    /// The destination, if the socket is bound to every address.
    var asked: SocketAddress?
    /// The size of the parts, if these are several datagrams; otherwise 0.
    var segmentSize = 0
}

extension DatagramArrival {
    /// Creates a single datagram, of a socket that is bound to one address.
    package init(_ bytes: [UInt8], from sender: SocketAddress) {
        self.init(bytes: bytes, sender: sender)
    }
}

/// A bound socket, and the datagrams that wait in it.
final class SimulatedDatagramSocket {
    let address: SocketAddress
    private let isCoalescing: Bool
    /// Called when a datagram arrives.
    var onChange: (() -> Void)?
    private var waiting: [DatagramArrival] = []

    /// The most waiting datagrams. More are dropped, like by a kernel whose buffer is full.
    private static let most = 256
    /// The most bytes of one receive.
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

    /// Removes the next datagram, with those after it that a kernel would have coalesced with it.
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

/// The memory from which a driver lends datagrams, one at a time.
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

    /// Ends the loan: overwrites the bytes with `poison`, so that a late reader sees it.
    mutating func end(poison: UInt8) {
        if count > 0, let start = bytes.baseAddress { memset(start, Int32(poison), count) }
        count = 0
        sender?.deallocate()
        sender = nil
    }
}

/// A peer with a UDP socket.
package final class SimulatedDatagramPeer {
    package let address: SocketAddress
    /// The received datagrams, in order of arrival.
    package private(set) var received: [[UInt8]] = []
    /// The senders of the received datagrams, in the same order.
    package private(set) var senders: [SocketAddress] = []
    /// Called for each received datagram.
    package var onArrival: (([UInt8]) -> Void)?
    private unowned let network: SimulatedNetwork

    init(address: SocketAddress, network: SimulatedNetwork) {
        self.address = address
        self.network = network
    }

    /// Sends after `delay`. The datagram is lost if no socket has the address then.
    package func send(_ bytes: [UInt8], to target: SocketAddress, after delay: Nanoseconds) {
        network.schedule(after: delay) { [self] in
            network.deliver(bytes, from: address, to: target)
        }
    }

    func arrive(_ bytes: [UInt8], from sender: SocketAddress) {
        received.append(bytes)
        senders.append(sender)
        onArrival?(bytes)
    }
}

extension SimulatedNetwork {
    /// Creates a peer with its own address.
    package func makeDatagramPeer() -> SimulatedDatagramPeer {
        let peer = SimulatedDatagramPeer(
            address: peerAddress(for: .v4(IPv4Bytes(0), port: 0)), network: self)
        datagramPeers.append(peer)
        return peer
    }

    /// Delivers a datagram to its address, or drops it if no socket has the address.
    func deliver(_ bytes: [UInt8], from sender: SocketAddress, to target: SocketAddress) {
        if let peer = datagramPeers.first(where: { $0.address == target }) {
            return peer.arrive(bytes, from: sender)
        }
        let open = datagramSockets.filter { $0.answers(target) }
        // Of the sockets that share a port, one sender always reaches the same one, like in the
        // kernel.
        guard !open.isEmpty else { return }
        open[Int(sender.port ?? 0) % open.count].arrive(bytes, from: sender, at: target)
    }

    /// Sends a loop's datagrams like the kernel does.
    func send(
        _ datagrams: UnsafeBufferPointer<OutgoingDatagram>, from sender: SocketAddress,
        _ form: DatagramForm
    ) -> DatagramsSent {
        var result = DatagramsSent()
        while result.count < datagrams.count {
            let rest = UnsafeBufferPointer(rebasing: datagrams[result.count...])
            let bundle = form == .bundled ? Self.bundleSize(rest) : 1
            if let error = refusal(of: bundle) {
                // If this call has sent some, the next call reports the error.
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
        // Copied now: the loop may reuse its memory when the call returns.
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
