internal import Glibc
internal import MillraceEventLoop

/// One datagram, lent until `onDatagram` returns: the compiler refuses to let it escape.
public struct Datagram: ~Escapable {
    let received: UnsafePointer<ReceivedDatagram>
    // Both outlive the callback, and are not reference-counted for each datagram.
    let core: Unmanaged<LoopCore>
    let place: Unmanaged<DatagramPlace>

    @_lifetime(immortal)
    init(
        _ received: UnsafePointer<ReceivedDatagram>, _ core: LoopCore,
        _ place: Unmanaged<DatagramPlace>
    ) {
        self.received = received
        self.core = .passUnretained(core)
        self.place = place
    }

    /// The Sendable socket that received it. Keep it to send later or to other receivers.
    public var socket: DatagramSocket { DatagramSocket(place: place.takeUnretainedValue()) }

    /// The received bytes, 0 to 65,507.
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            let span = RawSpan(_unsafeBytes: received.pointee.bytes)
            return _overrideLifetime(span, borrowing: self)
        }
    }

    /// The sender's address.
    public var remoteAddress: Address {
        Address(SocketAddress(kernelForm: received.pointee.sender)?.unmapped, isDatagram: true)
    }

    /// The address to which the datagram was sent: the socket's address. If the socket is bound to
    /// every address of the machine, it is the one that the sender used, from which `reply`
    /// answers. For a multicast group or a broadcast address it is the machine's own IPv4 address
    /// in that network, and for IPv6 the socket's address.
    public var localAddress: Address {
        let place = place.takeUnretainedValue()
        guard
            let asked = SocketAddress(
                askedBehind: received.pointee.sender, port: place.localAddress.port ?? 0)
        else { return place.localAddress }
        return Address(asked, isDatagram: true)
    }

    /// Indicates that the socket's buffer was too small for the datagram. Never true for sizes that
    /// IPv4 allows.
    public var isTruncated: Bool { received.pointee.isTruncated }

    /// The loop on which the socket lives.
    public var loop: Loop { Loop(core: core.takeUnretainedValue()) }

    /// The server whose socket received the datagram.
    public var server: Server { loop.server }

    /// Sends an answer to the sender, from the address that the sender used. The bytes are copied
    /// and go out with the other replies of this turn of the loop. Never blocks: a reply that the
    /// socket does not accept is dropped and counted in `Statistics.datagramDrops`.
    public func reply(_ bytes: RawSpan) {
        bytes.withUnsafeBytes { send($0) }
    }

    /// Sends an answer like `reply(_:)` for lent bytes, but from text as UTF-8.
    public func reply(_ text: String) {
        var text = text
        text.withUTF8 { send(UnsafeRawBufferPointer($0)) }
    }

    /// Sends an answer like `reply(_:)` for lent bytes, but from an array.
    public func reply(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { send($0) }
    }

    private func send(_ bytes: UnsafeRawBufferPointer) {
        let index = place._withUnsafeGuaranteedRef { $0.index }
        core._withUnsafeGuaranteedRef {
            $0.sendDatagram(bytes, to: received.pointee.sender, socket: index)
        }
    }
}

/// The place of a datagram socket. A loop never uses its index for another one.
final class DatagramPlace: Sendable {
    let remote: LoopRemote
    /// The index among the sockets that its loop listens on.
    let index: Int
    let localAddress: Address

    init(remote: LoopRemote, index: Int, localAddress: Address) {
        self.remote = remote
        self.index = index
        self.localAddress = localAddress
    }
}

/// A bound UDP socket, for any thread: of a datagram, or of `Server.datagramSockets`. Sends never
/// block: a datagram that the socket does not accept is dropped and counted in
/// `Statistics.datagramDrops`.
public struct DatagramSocket: Sendable, Hashable {
    let place: DatagramPlace

    /// The address to which the socket is bound, with the real port.
    public var localAddress: Address { place.localAddress }

    public static func == (one: DatagramSocket, other: DatagramSocket) -> Bool {
        one.place.remote === other.place.remote && one.place.index == other.place.index
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(ObjectIdentifier(place.remote))
        hasher.combine(place.index)
    }

    /// Sends a datagram to any address, also to a broadcast address or a multicast group. An IPv6
    /// socket sends to IPv4 too. On the socket's loop the datagram goes out at the end of this
    /// turn, otherwise soon. Its source is the address to which the socket is bound. If that is
    /// every address of the machine, the routes to the receiver decide. That source may differ from
    /// the address to which the receiver has sent: to answer, use `Datagram.reply`.
    ///
    /// Returns false if the datagram is not accepted. `address` is not `udp://`, or its host is a
    /// name, since nothing is looked up here. Or the loop has ended, its mailbox is full, or 4 MiB
    /// of datagrams from other threads wait in it. That counts as a drop. On the socket's loop, it
    /// also returns false once the socket has closed.
    @discardableResult
    public func send(_ bytes: [UInt8], to address: Address) -> Bool {
        guard address.isDatagram, let target = address.socketAddress,
            let name = try? target.named(from: place.localAddress.socketAddress).kernelCopy()
        else {
            place.remote.counters.datagramRefusals.add()
            return false
        }
        let index = place.index
        if let loop = LoopCore.current, loop.remote === place.remote {
            defer { name.deallocate() }
            bytes.withUnsafeBytes {
                loop.sendDatagram($0, to: UnsafeRawBufferPointer(name), socket: index)
            }
            return loop.isServed(index)
        }
        let receiver = Array(name)
        name.deallocate()
        return place.remote.send(bytes: bytes.count) { loop in
            bytes.withUnsafeBytes { bytes in
                receiver.withUnsafeBytes { loop.sendDatagram(bytes, to: $0, socket: index) }
            }
        }
    }

    /// Sends a datagram like `send(_:to:)` for an array, but from lent bytes.
    @discardableResult
    public func send(_ bytes: RawSpan, to address: Address) -> Bool {
        send(Array(copying: bytes), to: address)
    }

    /// Joins a multicast group, `udp://239.1.2.3:0` for example, on the network interface with this
    /// name. With nil, the routes or the zone of an IPv6 group select the interface. A socket
    /// receives only the groups that it has joined, and each socket that has joined one receives
    /// every datagram of it: with `Options.reusePort`, join on one loop.
    ///
    /// Call it on the socket's loop. From other threads it takes effect soon, and errors of the
    /// kernel are not reported. Throws `.invalidAddress` for a wrong group or interface, or
    /// `.system` with the kernel's error.
    public func join(_ group: Address, interface: String? = nil) throws(NetError) {
        guard group.isDatagram, let target = group.socketAddress else {
            guard !group.needsLookup else {
                throw NetError(
                    .invalidAddress, "\(group) has a name in the place of a group",
                    "give one of 224.0.0.0/4 or ff00::/8")
            }
            throw .invalidAddress(group.description)
        }
        let index = place.index
        if let loop = LoopCore.current, loop.remote === place.remote {
            do throws(SystemError) {
                return try loop.joinGroup(target, interface: interface, socket: index)
            } catch {
                throw NetError(joining: group, interface, error)
            }
        }
        place.remote.run { loop in
            try? loop.joinGroup(target, interface: interface, socket: index)
        }
    }
}

extension NetError {
    fileprivate init(joining group: Address, _ interface: String?, _ error: SystemError) {
        let name = interface.map { " by \($0.debugDescription)" } ?? ""
        let what = "\(group)\(name): \(error.message) (\(error.name))"
        switch error.number {
        case EINVAL:
            self.init(
                .invalidAddress, "\(group) is not a multicast group",
                "give one of 224.0.0.0/4 or ff00::/8", errno: error.number)
        case ENODEV:
            self.init(
                .invalidAddress, what, "name an interface that `ip link` lists",
                errno: error.number)
        default: self.init(.system, what, errno: error.number)
        }
    }
}
