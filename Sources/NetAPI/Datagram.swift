internal import EventLoop
internal import Glibc

/// One datagram, lent until `onDatagram` returns: the compiler forbids keeping it.
public struct Datagram: ~Escapable {
    let received: UnsafePointer<ReceivedDatagram>
    // Both outlive the callback, and are not counted for each datagram.
    let core: Unmanaged<EventLoop.Loop>
    let place: Unmanaged<DatagramPlace>

    @_lifetime(immortal)
    init(
        _ received: UnsafePointer<ReceivedDatagram>, _ core: EventLoop.Loop,
        _ place: Unmanaged<DatagramPlace>
    ) {
        self.received = received
        self.core = .passUnretained(core)
        self.place = place
    }

    /// The Sendable socket that it came by; keep it to send later or to others.
    public var socket: DatagramSocket { DatagramSocket(place: place.takeUnretainedValue()) }

    /// What was sent, 0 to 65,507 bytes.
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            let span = RawSpan(_unsafeBytes: received.pointee.bytes)
            return _overrideLifetime(span, borrowing: self)
        }
    }

    /// Who sent it.
    public var remoteAddress: Address {
        Address(SocketAddress(kernelForm: received.pointee.sender)?.unmapped, isDatagram: true)
    }

    /// Where it was sent to: the socket's address. Of a socket that is bound to every address of
    /// the machine, the one that was asked, from which `reply` answers; for what was sent to a
    /// multicast group or a broadcast address it is the machine's own address in that network if
    /// that is IPv4, and for IPv6 the socket's.
    public var localAddress: Address {
        let place = place.takeUnretainedValue()
        guard
            let asked = SocketAddress(
                askedBehind: received.pointee.sender, port: place.localAddress.port ?? 0)
        else { return place.localAddress }
        return Address(asked, isDatagram: true)
    }

    /// The socket's buffer was too small for it. Not with sizes that IPv4 allows.
    public var isTruncated: Bool { received.pointee.isTruncated }

    /// The loop that its socket lives on.
    public var loop: Loop { Loop(core: core.takeUnretainedValue()) }

    /// The server whose socket it came by.
    public var server: Server { loop.server }

    /// Answers its sender, from the address that it asked. Copied; goes out with the other replies
    /// of this turn of the loop. Never blocks: what the socket does not take is dropped and counted
    /// in `Statistics.datagramDrops`.
    public func reply(_ bytes: RawSpan) {
        bytes.withUnsafeBytes { send($0) }
    }

    /// As above, for text as UTF-8.
    public func reply(_ text: String) {
        var text = text
        text.withUTF8 { send(UnsafeRawBufferPointer($0)) }
    }

    /// As above, for an array.
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

/// Where a datagram socket is: made once for each.
final class DatagramPlace: Sendable {
    let port: LoopPort
    /// Among the sockets that its loop listens on.
    let index: Int
    let localAddress: Address

    init(port: LoopPort, index: Int, localAddress: Address) {
        self.port = port
        self.index = index
        self.localAddress = localAddress
    }
}

/// A bound UDP socket, for any thread. Sends never block: what the socket does not take is dropped
/// and counted in `Statistics.datagramDrops`.
public struct DatagramSocket: Sendable, Hashable {
    let place: DatagramPlace

    /// Where it is bound: the real port.
    public var localAddress: Address { place.localAddress }

    public static func == (one: DatagramSocket, other: DatagramSocket) -> Bool {
        one.place === other.place
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(place)) }

    /// Sends to anybody, also to a broadcast address or a multicast group, by a socket of IPv6 to
    /// IPv4 too; at the end of this turn when called on the socket's loop, soon otherwise. From
    /// the address that the socket is bound to; where that is every address of the machine, from
    /// the one that the routes to the receiver say, which need not be the one that the receiver has
    /// asked: to answer it use `Datagram.reply`.
    ///
    /// False if it is not taken: `address` is not `udp://`, the loop has ended, or it is behind:
    /// its mailbox is full, or 4 MiB of other threads' datagrams wait in it. That is a drop, and
    /// counted as one. False, too, on the socket's loop once the socket has closed.
    @discardableResult
    public func send(_ bytes: [UInt8], to address: Address) -> Bool {
        guard address.isDatagram, let target = address.socketAddress,
            let name = try? target.named(from: place.localAddress.socketAddress).kernelCopy()
        else {
            place.port.counters.datagramRefusals.add()
            return false
        }
        let index = place.index
        if let loop = EventLoop.Loop.current, loop.port === place.port {
            defer { name.deallocate() }
            bytes.withUnsafeBytes {
                loop.sendDatagram($0, to: UnsafeRawBufferPointer(name), socket: index)
            }
            return loop.isServed(index)
        }
        let receiver = Array(name)
        name.deallocate()
        return place.port.send(bytes: bytes.count) { loop in
            bytes.withUnsafeBytes { bytes in
                receiver.withUnsafeBytes { loop.sendDatagram(bytes, to: $0, socket: index) }
            }
        }
    }

    /// As above, for lent bytes.
    @discardableResult
    public func send(_ bytes: RawSpan, to address: Address) -> Bool {
        send(Array(copying: bytes), to: address)
    }

    /// Receives what is sent to a multicast group, `udp://239.1.2.3:0` for example, from now on, by
    /// the network interface of this name; nil: by the one that the routes say, or that the zone of
    /// an IPv6 group names. On the socket's loop; from other threads it takes effect soon and
    /// errors are not told. Throws `.invalidAddress` for what is no group or no interface, or
    /// `.system` with what the kernel says.
    public func join(_ group: Address, interface: String? = nil) throws(NetError) {
        guard group.isDatagram, let target = group.socketAddress else {
            throw .invalidAddress(group.description)
        }
        let index = place.index
        if let loop = EventLoop.Loop.current, loop.port === place.port {
            do throws(SystemError) {
                return try loop.joinGroup(target, interface: interface, socket: index)
            } catch {
                throw NetError(joining: group, interface, error)
            }
        }
        place.port.run { loop in
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
