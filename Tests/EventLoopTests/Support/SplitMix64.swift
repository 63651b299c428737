/// The source of the random operations in these tests: one seed gives the same numbers on any
/// machine.
struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A number of `0 ..< limit`; `limit` is at least 1.
    mutating func below(_ limit: Int) -> Int {
        precondition(limit > 0, "nothing to draw from")
        return Int(next().multipliedFullWidth(by: UInt64(limit)).high)
    }

    /// True with a probability of `percent` in a hundred.
    mutating func happens(_ percent: Int) -> Bool { below(100) < percent }

    /// Fills words, since a debug build needs a tenth of a microsecond for each turn of a loop.
    mutating func bytes(_ count: Int) -> [UInt8] {
        let words = (0..<(count + 7) / 8).map { _ in next() }
        return words.withUnsafeBytes { Array($0.prefix(count)) }
    }

    /// Usually a few bytes, sometimes many: at most `largest`.
    mutating func size(_ largest: Int) -> Int {
        switch below(10) {
        case 0..<5: below(min(64, largest) + 1)
        case 5..<8: below(min(2000, largest) + 1)
        default: below(largest + 1)
        }
    }
}
