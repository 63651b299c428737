/// The source of random operations in tests: one seed gives the same numbers on any machine.
import Glibc

public struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return Self.mix(state)
    }

    /// Scrambles a number, as each step of the generator does.
    public static func mix(_ value: UInt64) -> UInt64 {
        var mixed = value
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A number of `0 ..< limit`; `limit` is at least 1.
    public mutating func below(_ limit: Int) -> Int {
        precondition(limit > 0, "nothing to draw from")
        return Int(next().multipliedFullWidth(by: UInt64(limit)).high)
    }

    /// True with a probability of `percent` in a hundred.
    public mutating func happens(_ percent: Int) -> Bool { below(100) < percent }

    /// Fills words, since a debug build needs a tenth of a microsecond for each turn of a loop.
    public mutating func bytes(_ count: Int) -> [UInt8] {
        let words = (0..<(count + 7) / 8).map { _ in next() }
        return words.withUnsafeBytes { Array($0.prefix(count)) }
    }

    /// Usually a few bytes, sometimes many: at most `largest`.
    public mutating func size(_ largest: Int) -> Int {
        switch below(10) {
        case 0..<5: below(min(64, largest) + 1)
        case 5..<8: below(min(2000, largest) + 1)
        default: below(largest + 1)
        }
    }

    /// Small sizes are as likely as large ones: uniform in the number of digits.
    public mutating func size(_ range: ClosedRange<Int>) -> Int {
        let low = Double(range.lowerBound)
        let high = Double(range.upperBound)
        let value = Glibc.exp(Double.random(in: Glibc.log(low)...Glibc.log(high), using: &self))
        return min(max(Int(value.rounded()), range.lowerBound), range.upperBound)
    }
}
