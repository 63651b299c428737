// Random decisions that a seed repeats. The order of the threads is not among them: a seed
// determines the attempts, not their results.
import TestSupport

struct Dice {
    private var numbers: SplitMix64

    init(_ seed: UInt64) {
        numbers = SplitMix64(seed: seed &* 0x9E37_79B9_7F4A_7C15 &+ 0xD1B5_4A32_D192_ED03)
    }

    mutating func next() -> UInt64 { numbers.next() }

    mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(max(1, limit))) }

    mutating func within(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + below(range.upperBound - range.lowerBound + 1)
    }

    mutating func one(in chances: Int) -> Bool { below(chances) == 0 }

    mutating func pick<T>(_ choices: [T]) -> T { choices[below(choices.count)] }

    /// Returns a size of at most `most`; small sizes are as frequent as large ones.
    mutating func size(upTo most: Int) -> Int {
        min(most, max(1, below(1 << within(1...21))))
    }
}
