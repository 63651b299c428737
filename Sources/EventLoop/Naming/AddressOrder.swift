/// The addresses of a resolver's answer in the order in which a connect tries them.
package enum AddressOrder {
    /// The most addresses that are kept of one answer. With the default delay, a connect of 10 s
    /// starts no more than 40 attempts.
    package static var most: Int { 32 }

    /// Interleaves the families, IPv6 first, and keeps the resolver's order within each (RFC 8305,
    /// section 4). Drops what is no address of the wanted family, every repetition, and what is
    /// above `most`.
    package static func interleaved(
        _ answer: [SocketAddress], family: AddressFamily?
    ) -> [SocketAddress] {
        let known = distinct(answer, family: family)
        var v6 = known.filter { $0.addressFamily == .v6 }[...]
        var v4 = known.filter { $0.addressFamily == .v4 }[...]
        var order: [SocketAddress] = []
        while order.count < most, !v6.isEmpty || !v4.isEmpty {
            if let address = v6.popFirst() { order.append(address) }
            if order.count < most, let address = v4.popFirst() { order.append(address) }
        }
        return order
    }

    /// Returns the addresses to listen on, in the resolver's order, and bounded.
    package static func inOrder(
        _ answer: [SocketAddress], family: AddressFamily?
    ) -> [SocketAddress] {
        Array(distinct(answer, family: family).prefix(most))
    }

    /// Keeps at most `most` addresses of each family.
    private static func distinct(
        _ answer: [SocketAddress], family: AddressFamily?
    ) -> [SocketAddress] {
        var seen: Set<SocketAddress> = []
        var (v4, v6) = (0, 0)
        return answer.filter { address in
            guard let own = address.addressFamily, family == nil || own == family,
                own == .v4 ? v4 < most : v6 < most, seen.insert(address.unmapped).inserted
            else { return false }
            if own == .v4 { v4 += 1 } else { v6 += 1 }
            return true
        }.map(\.unmapped)
    }
}

package enum AddressFamily: Hashable, Sendable {
    case v4
    case v6
}

extension SocketAddress {
    /// The family of the kernel's connect; nil for Unix. IPv4 in an IPv6 form is IPv4.
    fileprivate var addressFamily: AddressFamily? {
        switch unmapped {
        case .v4: .v4
        case .v6: .v6
        case .unix: nil
        }
    }
}
