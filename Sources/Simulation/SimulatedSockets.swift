import Glibc
import MillraceEventLoop

/// The `Sockets` of the simulated network, for all calls off the hot path.
package final class SimulatedSockets: Sockets {
    package let network: SimulatedNetwork

    package init(network: SimulatedNetwork) { self.network = network }

    package func listen(
        on address: SocketAddress, _ options: ListenOptions
    ) throws(SystemError) -> BoundListener {
        guard network.hasRoomForDescriptor else { throw SystemError(EMFILE, "socket") }
        try checkFamily(address)
        let address = withPort(address)
        let rivals = network.listeners.filter { $0.address == address }
        let isShared = options.reusePort && rivals.allSatisfy { $0.options.reusePort }
        guard rivals.isEmpty || isShared else { throw SystemError(EADDRINUSE, "bind") }
        let listener = SimulatedListener(
            address: address, options: options, path: newPath(for: address))
        network.listeners.append(listener)
        return BoundListener(
            descriptor: network.open(.listener(listener)), address: address, path: listener.path)
    }

    /// Creates an unconnected socket. A socket for datagrams is only for tests that script its
    /// behaviour: the simulated driver connects only streams.
    package func makeSocket(
        for address: SocketAddress, isDatagram: Bool, receiveOffload: Bool
    ) throws(SystemError) -> Descriptor {
        guard network.hasRoomForDescriptor else { throw SystemError(EMFILE, "socket") }
        return network.open(.unconnected)
    }

    // The simulated network exchanges no descriptors with other processes.

    package func duplicate(_ descriptor: Descriptor) throws(SystemError) -> Descriptor {
        throw SystemError(EOPNOTSUPP, "fcntl")
    }

    package func adopt(_ descriptor: Descriptor) throws(SystemError) -> BoundListener {
        throw SystemError(EBADF, "getsockopt")
    }

    package func adoptStream(_ descriptor: Descriptor) throws(SystemError) {
        guard case .stream = network.socket(descriptor, for: "getsockopt")?.kind else {
            throw SystemError(EBADF, "getsockopt")
        }
    }

    package func bindDatagrams(
        on address: SocketAddress, _ options: ListenOptions
    ) throws(SystemError) -> BoundListener {
        guard network.hasRoomForDescriptor else { throw SystemError(EMFILE, "socket") }
        try checkFamily(address)
        let address = withPort(address)
        let isTaken = network.datagramSockets.contains { $0.address == address }
        guard options.reusePort || !isTaken else { throw SystemError(EADDRINUSE, "bind") }
        let bound = SimulatedDatagramSocket(
            address: address, isCoalescing: options.receiveOffload)
        network.datagramSockets.append(bound)
        return BoundListener(
            descriptor: network.open(.datagrams(bound)), address: address, isDatagram: true)
    }

    package func send(
        _ datagrams: UnsafeBufferPointer<OutgoingDatagram>, on descriptor: Descriptor,
        _ form: DatagramForm
    ) -> DatagramsSent {
        guard case .datagrams(let bound) = network.socket(descriptor, for: "send")?.kind else {
            var result = DatagramsSent()
            result.error = EOPNOTSUPP
            result.refused = 1
            return result
        }
        return network.send(datagrams, from: bound.address, form)
    }

    package func join(
        _ group: SocketAddress, interface: String?, on descriptor: Descriptor
    ) throws(SystemError) {
        throw SystemError(EOPNOTSUPP, "setsockopt")
    }

    package func acceptWaiting(
        on listener: Descriptor
    ) throws(SystemError) -> AcceptedStream? {
        guard let socket = network.socket(listener, for: "accept") else {
            throw SystemError(EBADF, "accept4")
        }
        guard case .listener(let queue) = socket.kind else { throw SystemError(EINVAL, "accept4") }
        guard queue.hasWaiting else { return nil }
        guard network.hasRoomForDescriptor else { throw SystemError(EMFILE, "accept4") }
        return queue.takeWaiting().map {
            AcceptedStream(descriptor: network.open(.stream($0)), peer: $0.remote)
        }
    }

    package func hasUnread(_ descriptor: Descriptor) -> Bool {
        guard case .stream(let endpoint) = network.socket(descriptor, for: "recv")?.kind else {
            return false
        }
        return endpoint.incoming.count > 0
    }

    package func unacknowledged(_ descriptor: Descriptor) -> Int {
        guard case .stream(let endpoint) = network.socket(descriptor, for: "ioctl")?.kind else {
            return 0
        }
        return endpoint.unacknowledged
    }

    package func sendQueue(_ descriptor: Descriptor) -> Int {
        guard case .stream(let endpoint) = network.socket(descriptor, for: "ioctl")?.kind else {
            return 0
        }
        return endpoint.sendQueue
    }

    package func prepare(_ descriptor: Descriptor, _ options: StreamOptions) {
        _ = network.socket(descriptor, for: "prepare")
    }

    package func localAddress(of descriptor: Descriptor) throws(SystemError) -> SocketAddress {
        switch network.socket(descriptor, for: "getsockname")?.kind {
        case .listener(let listener): return listener.address
        case .datagrams(let bound): return bound.address
        case .stream(let endpoint): return endpoint.local
        case .unconnected: throw SystemError(EINVAL, "getsockname")
        case nil: throw SystemError(EBADF, "getsockname")
        }
    }

    package func remoteAddress(of descriptor: Descriptor) throws(SystemError) -> SocketAddress {
        switch network.socket(descriptor, for: "getpeername")?.kind {
        case .stream(let endpoint) where !endpoint.isReset: return endpoint.remote
        case .stream, .listener, .datagrams, .unconnected:
            throw SystemError(ENOTCONN, "getpeername")
        case nil: throw SystemError(EBADF, "getpeername")
        }
    }

    package func set(_ option: StreamOption, on descriptor: Descriptor) throws(SystemError) {
        guard let socket = network.socket(descriptor, for: "setsockopt") else {
            throw SystemError(EBADF, "setsockopt")
        }
        guard case .stream(let endpoint) = socket.kind else {
            throw SystemError(EINVAL, "setsockopt")
        }
        switch option {
        case .linger(let reset): socket.resetsOnClose = reset
        case .receiveBuffer(let bytes):
            endpoint.incoming.capacity = max(1, Int(bytes))
            endpoint.other?.onChange?()
        case .sendBuffer(let bytes):
            endpoint.other?.incoming.capacity = max(1, Int(bytes))
            endpoint.onChange?()
        case .noDelay, .keepAlive, .noKeepAlive, .quickAck, .userTimeout, .other: break
        }
    }

    /// A simulated socket has no options to read.
    package func option(
        level: CInt, name: CInt, capacity: Int, of descriptor: Descriptor
    ) throws(SystemError) -> [UInt8] { throw SystemError(ENOPROTOOPT, "getsockopt") }

    package func resetOnClose(_ descriptor: Descriptor) {
        network.socket(descriptor, for: "setsockopt")?.resetsOnClose = true
    }

    package func discard(_ descriptor: Descriptor) {
        guard let socket = network.socket(descriptor, for: "close") else { return }
        if socket.isDriven {
            network.violations.append("descriptor \(descriptor.number) discarded under its driver")
        }
        network.close(socket)
    }

    package func removePath(of listener: BoundListener) {
        // A simulated path disappears with its listener. Paths that outlive their socket are tested
        // with the kernel.
    }

    private func checkFamily(_ address: SocketAddress) throws(SystemError) {
        guard case .v6 = address, !network.hasV6 else { return }
        throw SystemError(EAFNOSUPPORT, "socket")
    }

    private func withPort(_ address: SocketAddress) -> SocketAddress {
        switch address {
        case .v4(let bytes, 0): .v4(bytes, port: nextPort())
        case .v6(let bytes, 0, let scope): .v6(bytes, port: nextPort(), scope: scope)
        default: address
        }
    }

    private func nextPort() -> UInt16 {
        defer { network.nextPort += 1 }
        return network.nextPort
    }

    private func newPath(for address: SocketAddress) -> PathIdentity? {
        guard case .unix(_, abstract: false) = address else { return nil }
        defer { network.nextInode += 1 }
        return PathIdentity(device: 1, inode: network.nextInode)
    }
}
