/// Picks the loop that gets the next accepted connection.
package struct Balancer {
    package enum Policy: Sendable {
        case roundRobin
        case leastConnections
        /// Each source address gets the same loop, unless that loop is behind.
        case sourceHash
    }

    private let policy: Policy
    private var next = 0

    package init(_ policy: Policy) { self.policy = policy }

    /// Returns the index of a loop. `load` returns the number of connections of loop `index`.
    /// `source` is called only if the policy needs it.
    package mutating func pick(
        among count: Int, load: (Int) -> Int, source: () -> SocketAddress?
    ) -> Int {
        guard count > 1 else { return 0 }
        switch policy {
        case .roundRobin:
            return takeTurn(count)
        case .leastConnections:
            // A moving start spreads ties, which are common right after the start.
            let start = takeTurn(count)
            var best = start
            for step in 1..<count {
                let candidate = (start + step) % count
                if load(candidate) < load(best) { best = candidate }
            }
            return best
        case .sourceHash:
            guard let hash = source()?.hostHash else { return takeTurn(count) }
            return Int(hash % UInt64(count))
        }
    }

    private mutating func takeTurn(_ count: Int) -> Int {
        defer { next = (next + 1) % count }
        return next % count
    }
}

extension SocketAddress {
    /// A hash of the host alone, the same in every process; nil for Unix peers, which have no host.
    fileprivate var hostHash: UInt64? {
        let word: UInt64
        switch unmapped {
        case .v4(let bytes, _): word = UInt64(bytes.word)
        case .v6(let bytes, _, _): word = bytes.high ^ bytes.low.byteSwapped
        case .unix: return nil
        }
        // Addresses in one network differ in few bits, high or low. The shifts mix high bits down,
        // since the low bits of a product do not depend on its factors' high bits. Fibonacci
        // hashing follows.
        let mixed = word ^ (word >> 32) ^ (word >> 17)
        return (mixed &* 0x9E37_79B9_7F4A_7C15) >> 32
    }
}
