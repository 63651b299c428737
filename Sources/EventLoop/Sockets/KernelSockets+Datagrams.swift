import CMillraceLinux
import Glibc

/// Datagram sockets, and sockets that connect.
extension KernelSockets {
    package func makeSocket(
        for address: SocketAddress, isDatagram: Bool, receiveOffload: Bool
    ) throws(SystemError) -> Descriptor {
        let type = isDatagram ? MR_SOCK_DGRAM : MR_SOCK_STREAM
        let descriptor = try make(family: address.family, type: type)
        guard isDatagram else { return descriptor }
        do throws(SystemError) {
            try setInteger(1, SOL_SOCKET, SO_BROADCAST, on: descriptor)
            if receiveOffload { try offloadReceives(descriptor) }
        } catch {
            discard(descriptor)
            throw error
        }
        return descriptor
    }

    package func bindDatagrams(
        on address: SocketAddress, _ options: ListenOptions
    ) throws(SystemError) -> BoundListener {
        let descriptor = try make(family: address.family, type: MR_SOCK_DGRAM)
        do throws(SystemError) {
            let isChosen = address.port != 0
            if isChosen { try sharePort(descriptor, options) }
            try receiveOnlyJoinedGroups(descriptor, address)
            // A caller that names a broadcast address intends to use it.
            try setInteger(1, SOL_SOCKET, SO_BROADCAST, on: descriptor)
            if options.receiveOffload { try offloadReceives(descriptor) }
            // 0, since each message carries its own size. The call fails on a kernel without
            // UDP_SEGMENT.
            if options.segmentationOffload {
                try setInteger(0, CInt(MR_IPPROTO_UDP), CInt(MR_UDP_SEGMENT), on: descriptor)
            }
            try prepareV6(descriptor, address, options)
            // Before bind(2), so that the first datagram carries its address too.
            if address.isWildcard { askWhoWasAsked(descriptor, address) }
            try bind(descriptor, to: address)
            // After bind(2) when the kernel chooses the port: it could choose one that another
            // socket shares. With SO_REUSEPORT before, 160 of 3,000 ports were such ones.
            if !isChosen { try sharePort(descriptor, options) }
            return BoundListener(
                descriptor: descriptor, address: try localAddress(of: descriptor),
                isDatagram: true)
        } catch {
            discard(descriptor)
            throw error
        }
    }

    private func sharePort(
        _ descriptor: Descriptor, _ options: ListenOptions
    ) throws(SystemError) {
        if options.reusePort { try setInteger(1, SOL_SOCKET, SO_REUSEPORT, on: descriptor) }
        if options.reuseAddress { try setInteger(1, SOL_SOCKET, SO_REUSEADDR, on: descriptor) }
    }

    /// Without this the kernel delivers the datagrams of each group that any socket of the machine
    /// has joined. An IPv6 socket receives those of IPv4 too. IPV6_MULTICAST_ALL is unknown before
    /// Linux 4.20.
    private func receiveOnlyJoinedGroups(
        _ descriptor: Descriptor, _ address: SocketAddress
    ) throws(SystemError) {
        try turnOff(CInt(MR_IPPROTO_IP), CInt(MR_IP_MULTICAST_ALL), on: descriptor)
        guard case .v6 = address else { return }
        try turnOff(CInt(MR_IPPROTO_IPV6), CInt(MR_IPV6_MULTICAST_ALL), on: descriptor)
    }

    /// Sets an option to 0 unless this kernel lacks it.
    private func turnOff(
        _ level: CInt, _ name: CInt, on descriptor: Descriptor
    ) throws(SystemError) {
        do throws(SystemError) {
            try setInteger(0, level, name, on: descriptor)
        } catch {
            guard error.number == ENOPROTOOPT else { throw error }
        }
    }

    /// Has the kernel report which address each datagram was sent to. A reply then comes from that
    /// address, not from the one that the routes choose. An error is ignored: replies then follow
    /// the routes.
    func askWhoWasAsked(_ descriptor: Descriptor, _ address: SocketAddress) {
        if case .v6 = address {
            try? setInteger(1, CInt(MR_IPPROTO_IPV6), IPV6_RECVPKTINFO, on: descriptor)
        }
        // Also for IPv4 datagrams on an IPv6 socket. For a broadcast, only IP_PKTINFO reports an
        // address that can be a source.
        try? setInteger(1, 0, IP_PKTINFO, on: descriptor)
    }

    private func offloadReceives(_ descriptor: Descriptor) throws(SystemError) {
        try setInteger(1, CInt(MR_IPPROTO_UDP), CInt(MR_UDP_GRO), on: descriptor)
    }

    package func send(
        _ datagrams: UnsafeBufferPointer<OutgoingDatagram>, on descriptor: Descriptor,
        _ form: DatagramForm
    ) -> DatagramsSent {
        let count = CInt(clamping: datagrams.count)
        var (result, bundles) = (DatagramsSent(), CInt(0))
        let sent = datagrams.withMemoryRebound(to: mr_outgoing.self) { list in
            form == .plain
                ? mr_send_datagrams(descriptor.number, list.baseAddress, count)
                : mr_send_described(
                    descriptor.number, list.baseAddress, count, form == .bundled, &bundles)
        }
        if sent < 0 {
            result.error = errno
            result.refused = max(1, Int(bundles))
        } else {
            result.count = Int(sent)
            result.bundles = Int(bundles)
        }
        return result
    }

    package func join(
        _ group: SocketAddress, interface: String?, on descriptor: Descriptor
    ) throws(SystemError) {
        var index: UInt32 = 0
        if let interface {
            index = if_nametoindex(interface)
            guard index != 0 else { throw SystemError(ENODEV, "if_nametoindex") }
        }
        switch group {
        case .v4(let bytes, _):
            var request = ip_mreqn()
            request.imr_multiaddr.s_addr = bytes.word
            request.imr_ifindex = CInt(bitPattern: index)
            try setValue(request, 0, CInt(IP_ADD_MEMBERSHIP), on: descriptor)
        case .v6(let bytes, _, let scope):
            var request = ipv6_mreq()
            withUnsafeMutableBytes(of: &request.ipv6mr_multiaddr) {
                $0.storeBytes(of: bytes.high, as: UInt64.self)
                $0.storeBytes(of: bytes.low, toByteOffset: 8, as: UInt64.self)
            }
            request.ipv6mr_interface = index != 0 ? index : scope
            try setValue(request, CInt(MR_IPPROTO_IPV6), IPV6_ADD_MEMBERSHIP, on: descriptor)
        case .unix: throw SystemError(EOPNOTSUPP, "setsockopt")
        }
    }
}
