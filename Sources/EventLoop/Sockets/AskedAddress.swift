import CMillraceLinux
import Glibc

/// The local address that a datagram was sent to, on a socket that is bound to all addresses.
///
/// The address follows the sender's name in memory, so a reply passes both on in one piece. A
/// socket bound to one address carries nothing extra. The form is `in6_pktinfo`: an IPv6 address
/// (IPv4 as ::ffff:a.b.c.d), then the interface of a link-local address.
package enum AskedAddress {
    static let size = MR_ASKED_SIZE

    /// The offset of the address behind the sender's name; nil if there is none.
    fileprivate static func offset(in name: UnsafeRawBufferPointer) -> Int? {
        let offset = name.count - size
        guard offset > 0 else { return nil }
        let family = CInt(name.loadUnaligned(as: sa_family_t.self))
        let isV4 = family == AF_INET && offset == MemoryLayout<sockaddr_in>.size
        let isV6 = family == AF_INET6 && offset == MemoryLayout<sockaddr_in6>.size
        return isV4 || isV6 ? offset : nil
    }
}

extension OutgoingDatagram {
    /// The same datagram with its source left to the routes; nil if it has no source.
    var withoutSource: OutgoingDatagram? {
        guard let offset = AskedAddress.offset(in: name) else { return nil }
        return OutgoingDatagram(
            bytes: bytes, name: UnsafeRawBufferPointer(rebasing: name[..<offset]))
    }
}

extension SocketAddress {
    /// The address that follows the sender in `name`, with the socket's port; nil if there is none.
    package init?(askedBehind name: UnsafeRawBufferPointer, port: UInt16) {
        guard let offset = AskedAddress.offset(in: name) else { return nil }
        let bytes = IPv6Bytes(
            high: name.loadUnaligned(fromByteOffset: offset, as: UInt64.self),
            low: name.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self))
        let interface = name.loadUnaligned(fromByteOffset: offset + 16, as: UInt32.self)
        self = SocketAddress.v6(bytes, port: port, scope: interface).unmapped
    }

    /// Copies the kernel's form, followed by the asked address, into newly allocated memory. This
    /// is the form in which a driver passes on the sender of a datagram.
    package func kernelCopy(asking asked: SocketAddress) throws(SystemError)
        -> UnsafeMutableRawBufferPointer
    {
        let name = try kernelCopy()
        guard case .v6(let bytes, _, let scope) = asked.mapped else { return name }
        defer { name.deallocate() }
        let whole = UnsafeMutableRawBufferPointer.allocate(
            byteCount: name.count + AskedAddress.size, alignment: 16)
        whole.copyMemory(from: UnsafeRawBufferPointer(name))
        whole.storeBytes(of: bytes.high, toByteOffset: name.count, as: UInt64.self)
        whole.storeBytes(of: bytes.low, toByteOffset: name.count + 8, as: UInt64.self)
        whole.storeBytes(of: scope, toByteOffset: name.count + 16, as: UInt32.self)
        return whole
    }

    /// Whether this is the wildcard address, which means every address of the machine.
    package var isWildcard: Bool {
        switch unmapped {
        case .v4(let bytes, _): bytes.word == 0
        case .v6(let bytes, _, _): bytes.high == 0 && bytes.low == 0
        case .unix: false
        }
    }

    /// The prefix 0:0:0:0:0:ffff::/96, in network order.
    private static let mappedPrefix: UInt64 = 0xFFFF << 32

    /// The IPv4-mapped form that an IPv6 socket needs; other addresses are unchanged.
    package var mapped: SocketAddress {
        guard case .v4(let bytes, let port) = self else { return self }
        let low = Self.mappedPrefix | UInt64(UInt32(bigEndian: bytes.word))
        return .v6(IPv6Bytes(high: 0, low: low.bigEndian), port: port, scope: 0)
    }

    /// The form that a socket with this local address needs.
    package func named(from local: SocketAddress?) -> SocketAddress {
        switch local {
        case .v4: unmapped
        case .v6: mapped
        case .unix, nil: self
        }
    }
}
