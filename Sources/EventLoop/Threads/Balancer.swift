/// Picks the loop that gets the next accepted connection.
package struct Balancer {
    package enum Policy: Sendable {
        case roundRobin
        case leastConnections
        /// One source address comes to the same loop, as long as that one keeps up.
        case sourceHash
    }

    private let policy: Policy
    private var next = 0

    package init(_ policy: Policy) { self.policy = policy }

    /// `load` tells how many connections loop `index` has; `source` is asked for only if the policy
    /// needs it.
    package mutating func pick(
        among count: Int, load: (Int) -> Int, source: () -> SocketAddress?
    ) -> Int {
        guard count > 1 else { return 0 }
        switch policy {
        case .roundRobin:
            return takeTurn(count)
        case .leastConnections:
            // Starting at a moving place spreads ties, which are the rule right after start.
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
    /// Of the host alone, the same in every process; nil for Unix peers, which have no address of
    /// their own.
    fileprivate var hostHash: UInt64? {
        let word: UInt64
        switch unmapped {
        case .v4(let bytes, _): word = UInt64(bytes.word)
        case .v6(let bytes, _, _): word = bytes.high ^ bytes.low.byteSwapped
        case .unix: return nil
        }
        // Neighbours in one network differ in few bits, wherever these are: mixed down first, since
        // a product's low bits know nothing of its factor's high ones, then by Fibonacci hashing.
        let mixed = word ^ (word >> 32) ^ (word >> 17)
        return (mixed &* 0x9E37_79B9_7F4A_7C15) >> 32
    }
}
