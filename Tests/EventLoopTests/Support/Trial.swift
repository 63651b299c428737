/// One run of random operations against a model. It reports its seed and its step when a check
/// fails.
import MillraceTestSupport

struct Trial {
    let seed: UInt64
    var random: SplitMix64
    private(set) var step = 0
    private var operation = "the start"

    /// The runs that each random test makes.
    static let seeds: ClosedRange<UInt64> = 1...24

    init(_ seed: UInt64) {
        self.seed = seed
        random = SplitMix64(seed: seed)
    }

    /// Names the next operation.
    mutating func begin(_ operation: String) {
        step += 1
        self.operation = operation
    }

    /// Cheaper than `#expect`, which these loops would call a million times.
    func check(
        _ holds: Bool, _ what: @autoclosure () -> String, line: Int = #line
    ) throws(Mismatch) {
        if holds { return }
        throw Mismatch(
            description: "seed \(seed), step \(step), after \(operation): \(what()) (line \(line))")
    }
}

/// A difference between the model and the tested type.
struct Mismatch: Error, CustomStringConvertible {
    let description: String
}
