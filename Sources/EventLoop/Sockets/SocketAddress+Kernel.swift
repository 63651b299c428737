import Glibc

/// Conversion of socket addresses to and from the kernel's form and text.
extension SocketAddress {
    var family: CInt {
        switch self {
        case .v4: AF_INET
        case .v6: AF_INET6
        case .unix: AF_UNIX
        }
    }

    /// Calls `body` with the kernel's form. A Unix name that does not fit throws ENAMETOOLONG.
    func withKernelForm<R>(
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> R
    ) throws(SystemError) -> R {
        var storage = sockaddr_storage()
        let length = try fill(&storage)
        return withUnsafePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
        }
    }

    private func fill(_ storage: inout sockaddr_storage) throws(SystemError) -> socklen_t {
        switch self {
        case .v4(let bytes, let port):
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = bytes.word
            return Self.copy(address, to: &storage)
        case .v6(let bytes, let port, let scope):
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            address.sin6_scope_id = scope
            withUnsafeMutableBytes(of: &address.sin6_addr) {
                $0.storeBytes(of: bytes.high, as: UInt64.self)
                $0.storeBytes(of: bytes.low, toByteOffset: 8, as: UInt64.self)
            }
            return Self.copy(address, to: &storage)
        case .unix(let path, let isAbstract):
            return try Self.fill(&storage, path: Array(path.utf8), isAbstract: isAbstract)
        }
    }

    private static func copy<T>(_ address: T, to storage: inout sockaddr_storage) -> socklen_t {
        withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: address, as: T.self) }
        return socklen_t(MemoryLayout<T>.size)
    }

    private static func fill(
        _ storage: inout sockaddr_storage, path: [UInt8], isAbstract: Bool
    ) throws(SystemError) -> socklen_t {
        // A zero byte would end a path early. A path that begins with one is an abstract name.
        guard isAbstract || !path.contains(0) else { throw SystemError(EINVAL, "bind") }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        // A path needs its terminating zero, an abstract name a leading one.
        guard path.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw SystemError(ENAMETOOLONG, "bind")
        }
        withUnsafeMutableBytes(of: &address.sun_path) {
            $0.baseAddress.map { $0 + (isAbstract ? 1 : 0) }?
                .copyMemory(from: path, byteCount: path.count)
        }
        _ = copy(address, to: &storage)
        let isUnnamed = path.isEmpty && !isAbstract
        return socklen_t(MemoryLayout<sa_family_t>.size + (isUnnamed ? 0 : path.count + 1))
    }

    /// Reads the kernel's form from memory of any alignment.
    package init?(kernelForm bytes: UnsafeRawBufferPointer) {
        var storage = sockaddr_storage()
        let size = min(bytes.count, MemoryLayout<sockaddr_storage>.size)
        withUnsafeMutableBytes(of: &storage) {
            $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes.prefix(size)))
        }
        self.init(storage, length: socklen_t(size))
    }

    /// Reads the output of getsockname or getpeername; nil for an unsupported address family.
    init?(_ storage: sockaddr_storage, length: socklen_t) {
        switch CInt(storage.ss_family) {
        case AF_INET:
            let address = withUnsafeBytes(of: storage) { $0.load(as: sockaddr_in.self) }
            self = .v4(
                IPv4Bytes(address.sin_addr.s_addr), port: UInt16(bigEndian: address.sin_port))
        case AF_INET6:
            let address = withUnsafeBytes(of: storage) { $0.load(as: sockaddr_in6.self) }
            let bytes = withUnsafeBytes(of: address.sin6_addr) {
                IPv6Bytes(
                    high: $0.load(as: UInt64.self), low: $0.load(fromByteOffset: 8, as: UInt64.self)
                )
            }
            let whole = SocketAddress.v6(
                bytes, port: UInt16(bigEndian: address.sin6_port), scope: address.sin6_scope_id)
            self = whole.unmapped
        case AF_UNIX:
            let count = Int(length) - MemoryLayout<sa_family_t>.size
            let name = withUnsafeBytes(of: storage) {
                Array($0[MemoryLayout<sa_family_t>.size...].prefix(max(0, count)))
            }
            if let first = name.first, first == 0 {
                self = .unix(String(decoding: name.dropFirst(), as: UTF8.self), abstract: true)
            } else {
                let path = name.prefix { $0 != 0 }
                self = .unix(String(decoding: path, as: UTF8.self), abstract: false)
            }
        default: return nil
        }
    }

    /// A numeric host and a port; nil if the host is neither IPv4 nor IPv6. A zone (`fe80::1%eth0`)
    /// is kept.
    package init?(host: String, port: UInt16) {
        // inet_pton stops at a zero byte and would ignore the rest.
        guard !host.utf8.contains(0) else { return nil }
        var v4 = in_addr()
        if inet_pton(AF_INET, host, &v4) == 1 {
            self = .v4(IPv4Bytes(v4.s_addr), port: port)
            return
        }
        let parts = host.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
        var v6 = in6_addr()
        guard let text = parts.first, inet_pton(AF_INET6, String(text), &v6) == 1 else {
            return nil
        }
        var scope: UInt32 = 0
        if parts.count == 2 {
            scope = UInt32(parts[1]) ?? if_nametoindex(String(parts[1]))
            guard scope != 0 else { return nil }
        }
        let bytes = withUnsafeBytes(of: v6) {
            IPv6Bytes(
                high: $0.load(as: UInt64.self), low: $0.load(fromByteOffset: 8, as: UInt64.self))
        }
        self = .v6(bytes, port: port, scope: scope)
    }

    /// The numeric host, in brackets if it is IPv6; nil for Unix.
    package var hostText: String? {
        var buffer = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let size = socklen_t(buffer.count)
        switch self {
        case .v4(let bytes, _):
            var address = in_addr(s_addr: bytes.word)
            inet_ntop(AF_INET, &address, &buffer, size)
            return Self.text(buffer)
        case .v6(let bytes, _, let scope):
            var address = in6_addr()
            withUnsafeMutableBytes(of: &address) {
                $0.storeBytes(of: bytes.high, as: UInt64.self)
                $0.storeBytes(of: bytes.low, toByteOffset: 8, as: UInt64.self)
            }
            inet_ntop(AF_INET6, &address, &buffer, size)
            let zone = scope == 0 ? "" : "%\(scope)"
            return "[\(Self.text(buffer))\(zone)]"
        case .unix: return nil
        }
    }

    private static func text(_ buffer: [CChar]) -> String {
        String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
