/// The address of a socket: an IP endpoint or a Unix name. NetAPI has the text forms that users
/// see.
@usableFromInline
package enum SocketAddress: Hashable, Sendable {
    /// Address bytes in network order.
    case v4(IPv4Bytes, port: UInt16)
    case v6(IPv6Bytes, port: UInt16, scope: UInt32)
    /// A path, or an abstract name without its leading `@`. An unnamed socket has the empty path.
    case unix(String, abstract: Bool)

    /// The IPv4 form of an IPv4-mapped IPv6 address (`::ffff:192.0.2.1`); other addresses are
    /// unchanged.
    package var unmapped: SocketAddress {
        guard case .v6(let bytes, let port, _) = self, let v4 = bytes.mapped else { return self }
        return .v4(v4, port: port)
    }

    /// The address without its port; nil for Unix, where every peer is on the same machine.
    package var host: SocketAddress? {
        switch unmapped {
        case .v4(let bytes, _): .v4(bytes, port: 0)
        case .v6(let bytes, _, let scope): .v6(bytes, port: 0, scope: scope)
        case .unix: nil
        }
    }

    /// Whether the address is valid in one network only and needs a zone that is missing.
    package var lacksZone: Bool {
        guard case .v6(let bytes, _, scope: 0) = self else { return false }
        let start = UInt64(bigEndian: bytes.high) >> 48
        // fe80::/10, and the groups ff?1:: and ff?2::.
        return start & 0xFFC0 == 0xFE80 || start & 0xFF0F == 0xFF01 || start & 0xFF0F == 0xFF02
    }

    /// The same address with another port; a Unix address is unchanged.
    package func with(port: UInt16?) -> SocketAddress {
        guard let port else { return self }
        return switch self {
        case .v4(let bytes, _): .v4(bytes, port: port)
        case .v6(let bytes, _, let scope): .v6(bytes, port: port, scope: scope)
        case .unix: self
        }
    }

    package var port: UInt16? {
        switch self {
        case .v4(_, let port), .v6(_, let port, _): port
        case .unix: nil
        }
    }
}

/// The four bytes of an IPv4 address.
@usableFromInline
package struct IPv4Bytes: Hashable, Sendable {
    package var word: UInt32
    package init(_ word: UInt32) { self.word = word }
}

/// The sixteen bytes of an IPv6 address.
@usableFromInline
package struct IPv6Bytes: Hashable, Sendable {
    package var high: UInt64
    package var low: UInt64
    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// The IPv4 address if this is an IPv4-mapped one; else nil.
    var mapped: IPv4Bytes? {
        let end = UInt64(bigEndian: low)
        guard high == 0, end >> 32 == 0xFFFF else { return nil }
        return IPv4Bytes(UInt32(truncatingIfNeeded: end).bigEndian)
    }
}
