/// The source of every choice in a simulated run: the same seed gives the same run on any machine.
///
/// The generator is SplitMix64. The drawing functions are written here too. The standard library
/// does not promise that its own return the same numbers in the next release.
package struct SeededRandom: Sendable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// Returns a number of `0 ..< limit`; `limit` is at least 1.
    package mutating func below(_ limit: Int) -> Int {
        precondition(limit > 0, "nothing to draw from")
        return Int(next().multipliedFullWidth(by: UInt64(limit)).high)
    }

    package mutating func within<Number: FixedWidthInteger>(
        _ range: ClosedRange<Number>
    ) -> Number {
        range.lowerBound + Number(below(Int(range.upperBound - range.lowerBound) + 1))
    }

    package mutating func happens(_ chance: PerMille) -> Bool {
        chance.count > 0 && below(1000) < chance.count
    }

    package mutating func pick<Element>(_ choices: [Element]) -> Element {
        choices[below(choices.count)]
    }

    package mutating func shuffle<Element>(_ elements: inout [Element]) {
        for last in stride(from: elements.count - 1, to: 0, by: -1) {
            elements.swapAt(last, below(last + 1))
        }
    }

    package mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
    }

    /// Returns a separate generator for a part of the run, so that one part's draws do not shift
    /// another's.
    package mutating func fork() -> SeededRandom { SeededRandom(seed: next()) }
}

/// The probability of an event, in thousandths.
package struct PerMille: Sendable, ExpressibleByIntegerLiteral {
    package let count: Int

    package init(_ count: Int) { self.count = count }
    package init(integerLiteral count: Int) { self.count = count }

    package static let never: PerMille = 0
    package static let always: PerMille = 1000
}
