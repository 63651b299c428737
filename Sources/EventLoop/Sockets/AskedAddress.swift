import CLinux
import Glibc

/// Which of a machine's addresses a datagram was sent to, where its socket is bound to all of them.
///
/// It stands behind the sender's name, so that who answers hands both over in one piece, and
/// nothing is carried along where nobody asks for it: the address in IPv6's form (IPv4's as
/// ::ffff:a.b.c.d), then the interface of a link-local one (`in6_pktinfo`).
package enum AskedAddress {
    static let size = MR_ASKED_SIZE

    /// Where it begins behind the sender's name; nil if none is there.
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
    /// The same to the same receiver, from whichever address the routes say; nil if it is that.
    var withoutSource: OutgoingDatagram? {
        guard let offset = AskedAddress.offset(in: name) else { return nil }
        return OutgoingDatagram(
            bytes: bytes, name: UnsafeRawBufferPointer(rebasing: name[..<offset]))
    }
}

extension SocketAddress {
    /// The address that was asked, with the port of the socket; nil if none stands behind `name`.
    package init?(askedBehind name: UnsafeRawBufferPointer, port: UInt16) {
        guard let offset = AskedAddress.offset(in: name) else { return nil }
        let bytes = IPv6Bytes(
            high: name.loadUnaligned(fromByteOffset: offset, as: UInt64.self),
            low: name.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self))
        let interface = name.loadUnaligned(fromByteOffset: offset + 16, as: UInt32.self)
        self = SocketAddress.v6(bytes, port: port, scope: interface).unmapped
    }

    /// In the kernel's form with the asked address behind it, in memory of its own: as a driver
    /// hands over the sender of a datagram.
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

    /// Stands for every address of the machine.
    package var isWildcard: Bool {
        switch unmapped {
        case .v4(let bytes, _): bytes.word == 0
        case .v6(let bytes, _, _): bytes.high == 0 && bytes.low == 0
        case .unix: false
        }
    }

    /// 0:0:0:0:0:ffff::/96, in the order of the network.
    private static let mappedPrefix: UInt64 = 0xFFFF << 32

    /// An IPv4 address as a socket of IPv6 wants it; others as they are.
    package var mapped: SocketAddress {
        guard case .v4(let bytes, let port) = self else { return self }
        let low = Self.mappedPrefix | UInt64(UInt32(bigEndian: bytes.word))
        return .v6(IPv6Bytes(high: 0, low: low.bigEndian), port: port, scope: 0)
    }

    /// As a socket with this local address has to name it.
    package func named(from local: SocketAddress?) -> SocketAddress {
        switch local {
        case .v4: unmapped
        case .v6: mapped
        case .unix, nil: self
        }
    }
}
