import CMillraceLinux
import Glibc

/// Options of sockets: the typed ones, and any by its level and name.
extension KernelSockets {
    package func set(
        _ option: StreamOption, on descriptor: Descriptor
    ) throws(SystemError) {
        let tcp = CInt(MR_IPPROTO_TCP)
        switch option {
        case .noDelay(let isOn):
            try setInteger(isOn ? 1 : 0, tcp, CInt(MR_TCP_NODELAY), on: descriptor)
        case .keepAlive(let idle, let interval, let count):
            try setInteger(idle, tcp, CInt(MR_TCP_KEEPIDLE), on: descriptor)
            try setInteger(interval, tcp, CInt(MR_TCP_KEEPINTVL), on: descriptor)
            try setInteger(count, tcp, CInt(MR_TCP_KEEPCNT), on: descriptor)
            try setInteger(1, SOL_SOCKET, SO_KEEPALIVE, on: descriptor)
        case .noKeepAlive: try setInteger(0, SOL_SOCKET, SO_KEEPALIVE, on: descriptor)
        case .linger(let reset): try setLinger(reset: reset, descriptor)
        case .receiveBuffer(let size):
            try setInteger(size, SOL_SOCKET, SO_RCVBUF, on: descriptor)
        case .sendBuffer(let size): try setInteger(size, SOL_SOCKET, SO_SNDBUF, on: descriptor)
        case .quickAck(let isOn):
            try setInteger(isOn ? 1 : 0, tcp, CInt(MR_TCP_QUICKACK), on: descriptor)
        case .userTimeout(let milliseconds):
            try setInteger(milliseconds, tcp, CInt(MR_TCP_USER_TIMEOUT), on: descriptor)
        case .other(let level, let name, let value):
            let result = value.withUnsafeBytes { setBytes($0, level, name, on: descriptor) }
            guard result == 0 else { throw SystemError(errno, "setsockopt") }
        }
    }

    func setInteger(
        _ value: CInt, _ level: CInt, _ name: CInt, on descriptor: Descriptor
    ) throws(SystemError) {
        try setValue(value, level, name, on: descriptor)
    }

    func setValue<Value>(
        _ value: Value, _ level: CInt, _ name: CInt, on descriptor: Descriptor
    ) throws(SystemError) {
        let result = withUnsafeBytes(of: value) { setBytes($0, level, name, on: descriptor) }
        guard result == 0 else { throw SystemError(errno, "setsockopt") }
    }

    private func setBytes(
        _ bytes: UnsafeRawBufferPointer, _ level: CInt, _ name: CInt, on descriptor: Descriptor
    ) -> CInt {
        setsockopt(descriptor.number, level, name, bytes.baseAddress, socklen_t(bytes.count))
    }

    func setLinger(reset: Bool, _ descriptor: Descriptor) throws(SystemError) {
        let value = linger(l_onoff: reset ? 1 : 0, l_linger: 0)
        try setValue(value, SOL_SOCKET, SO_LINGER, on: descriptor)
    }

    /// Sets whether a socket of IPv6 serves IPv4 too.
    func prepareV6(
        _ descriptor: Descriptor, _ address: SocketAddress, _ options: ListenOptions
    ) throws(SystemError) {
        guard case .v6 = address else { return }
        let only: CInt = options.onlyV6 ? 1 : 0
        try setInteger(only, CInt(MR_IPPROTO_IPV6), CInt(MR_IPV6_V6ONLY), on: descriptor)
    }

    func integer(_ name: CInt, of descriptor: Descriptor) throws(SystemError) -> CInt {
        var value: CInt = 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        guard getsockopt(descriptor.number, SOL_SOCKET, name, &value, &size) == 0 else {
            throw SystemError(errno, "getsockopt")
        }
        return value
    }

    package func option(
        level: CInt, name: CInt, capacity: Int, of descriptor: Descriptor
    ) throws(SystemError) -> [UInt8] {
        var value = [UInt8](repeating: 0, count: capacity)
        var size = socklen_t(capacity)
        guard getsockopt(descriptor.number, level, name, &value, &size) == 0 else {
            throw SystemError(errno, "getsockopt")
        }
        return Array(value.prefix(Int(size)))
    }
}
