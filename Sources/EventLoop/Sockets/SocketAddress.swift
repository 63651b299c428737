/// Where a socket is: an IP endpoint or a Unix name. The text forms of users' addresses are made
/// above.
@usableFromInline
package enum SocketAddress: Hashable, Sendable {
    /// Address bytes in network order.
    case v4(IPv4Bytes, port: UInt16)
    case v6(IPv6Bytes, port: UInt16, scope: UInt32)
    /// A path, or without the leading `@` an abstract name. An unnamed socket has the empty path.
    case unix(String, abstract: Bool)

    /// Whoever has this address on any port; nil for Unix, where everybody is the same machine.
    package var host: SocketAddress? {
        switch self {
        case .v4(let bytes, _): .v4(bytes, port: 0)
        case .v6(let bytes, _, let scope): .v6(bytes, port: 0, scope: scope)
        case .unix: nil
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
}
