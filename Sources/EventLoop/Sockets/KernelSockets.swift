import CMillraceLinux
import Glibc

/// The kernel's sockets, for both backends.
package final class KernelSockets: Sockets {
    package init() {}

    package func listen(
        on address: SocketAddress, _ options: ListenOptions
    ) throws(SystemError) -> BoundListener {
        let descriptor = try make(family: address.family, type: MR_SOCK_STREAM)
        do throws(SystemError) {
            if case .unix(let path, abstract: false) = address {
                return try listen(onPath: path, address, options, descriptor)
            }
            if address.port != nil { try prepare(listener: descriptor, address, options) }
            try bind(descriptor, to: address)
            try startListening(descriptor, options)
            return BoundListener(
                descriptor: descriptor, address: try localAddress(of: descriptor))
        } catch {
            Glibc.close(descriptor.number)
            throw error
        }
    }

    private func prepare(
        listener descriptor: Descriptor, _ address: SocketAddress, _ options: ListenOptions
    ) throws(SystemError) {
        // A restart within TIME_WAIT must not fail.
        try setInteger(1, SOL_SOCKET, SO_REUSEADDR, on: descriptor)
        if options.reusePort { try setInteger(1, SOL_SOCKET, SO_REUSEPORT, on: descriptor) }
        if let seconds = options.deferAccept {
            try setInteger(seconds, CInt(MR_IPPROTO_TCP), CInt(MR_TCP_DEFER_ACCEPT), on: descriptor)
        }
        if let processor = options.incomingCPU {
            try setInteger(processor, SOL_SOCKET, CInt(MR_SO_INCOMING_CPU), on: descriptor)
        }
        try prepareV6(descriptor, address, options)
    }

    /// Locks the directory from the first check of the path until listen(2) has returned. A second
    /// process cannot distinguish a bound socket that does not listen yet from a dead one.
    private func listen(
        onPath path: String, _ address: SocketAddress, _ options: ListenOptions,
        _ descriptor: Descriptor
    ) throws(SystemError) -> BoundListener {
        let lock = UnixPath.lockDirectory(of: path)
        defer { if lock >= 0 { Glibc.close(lock) } }
        try UnixPath.makeRoom(path, address)
        var identity: PathIdentity?
        do throws(SystemError) {
            // fchmod before bind(2), so that the path never has wider rights than requested.
            if let mode = options.mode { fchmod(descriptor.number, mode_t(mode)) }
            try bind(descriptor, to: address)
            identity = UnixPath.identity(of: path)
            if let mode = options.mode {
                try UnixPath.setMode(mode_t(mode), of: path, ifStill: identity)
            }
            try startListening(descriptor, options)
            return BoundListener(
                descriptor: descriptor, address: try localAddress(of: descriptor),
                path: identity, absolutePath: UnixPath.absolute(path))
        } catch {
            UnixPath.remove(path, ifStill: identity)
            throw error
        }
    }

    func bind(_ descriptor: Descriptor, to address: SocketAddress) throws(SystemError) {
        let bound = try address.withKernelForm { Glibc.bind(descriptor.number, $0, $1) }
        guard bound == 0 else { throw SystemError(errno, "bind") }
    }

    private func startListening(
        _ descriptor: Descriptor, _ options: ListenOptions
    ) throws(SystemError) {
        guard Glibc.listen(descriptor.number, options.backlog) == 0 else {
            throw SystemError(errno, "listen")
        }
    }

    func make(family: CInt, type: Int) throws(SystemError) -> Descriptor {
        let number = socket(family, CInt(type | MR_SOCK_NONBLOCK | MR_SOCK_CLOEXEC), 0)
        guard number >= 0 else { throw SystemError(errno, "socket") }
        return Descriptor(number)
    }

    package func acceptWaiting(
        on listener: Descriptor
    ) throws(SystemError) -> AcceptedStream? {
        var peer = PeerName()
        while true {
            let number = peer.accept(on: listener.number)
            if number >= 0 {
                return AcceptedStream(descriptor: Descriptor(number), peer: peer.address)
            }
            switch AcceptError(errno) {
            case .nobodyWaits: return nil
            case .passing: continue
            case .lasting(let error): throw error
            }
        }
    }

    package func hasUnread(_ descriptor: Descriptor) -> Bool {
        mr_has_unread(descriptor.number) != 0
    }

    package func prepare(_ descriptor: Descriptor, _ options: StreamOptions) {
        // These options fail on a Unix socket, which has neither Nagle's delay nor probes.
        if options.noDelay {
            try? setInteger(1, CInt(MR_IPPROTO_TCP), CInt(MR_TCP_NODELAY), on: descriptor)
        }
        if let idle = options.keepAlive {
            try? set(.keepAlive(idle: idle, interval: max(1, idle / 3), count: 3), on: descriptor)
        }
    }

    // MARK: Addresses

    package func localAddress(
        of descriptor: Descriptor
    ) throws(SystemError) -> SocketAddress {
        try address("getsockname") { getsockname(descriptor.number, $0, $1) }
    }

    package func remoteAddress(
        of descriptor: Descriptor
    ) throws(SystemError) -> SocketAddress {
        try address("getpeername") { getpeername(descriptor.number, $0, $1) }
    }

    private func address(
        _ call: StaticString,
        _ ask: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> CInt
    ) throws(SystemError) -> SocketAddress {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { ask($0, &length) }
        }
        guard result == 0 else { throw SystemError(errno, call) }
        guard let address = SocketAddress(storage, length: length) else {
            throw SystemError(EAFNOSUPPORT, call)
        }
        return address
    }

    // MARK: Endings

    package func unacknowledged(_ descriptor: Descriptor) -> Int {
        if case .unix? = try? localAddress(of: descriptor) { return 0 }
        return sendQueue(descriptor)
    }

    package func sendQueue(_ descriptor: Descriptor) -> Int {
        Int(mr_send_queue(descriptor.number))
    }

    package func resetOnClose(_ descriptor: Descriptor) {
        try? setLinger(reset: true, descriptor)
    }

    package func discard(_ descriptor: Descriptor) { Glibc.close(descriptor.number) }

    package func removePath(of listener: BoundListener) {
        guard case .unix(let path, abstract: false) = listener.address else { return }
        UnixPath.remove(listener.absolutePath ?? path, ifStill: listener.path)
    }
}
