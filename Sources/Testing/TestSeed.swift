internal import Glibc

/// The number that determines a network's faults, delays and orders. The same seed and the same
/// test give the same run, on any machine.
///
/// A parameterized test shows it with the way to replay the run.
public struct TestSeed: Sendable, Hashable, Codable, ExpressibleByIntegerLiteral {
    /// The seed itself.
    public let number: UInt64

    /// Creates a seed of any number.
    public init(_ number: UInt64) { self.number = number }

    public init(integerLiteral number: UInt64) { self.number = number }

    /// The environment variable that replaces the seeds of `each` and `seeds` by one.
    static let environmentName = "MILLRACE_SEED"

    /// Returns the seeds of this range; or the one that the environment variable `MILLRACE_SEED`
    /// names, which replays a failure.
    public static func each(_ range: ClosedRange<UInt64>) -> [TestSeed] {
        if let one = getenv(environmentName).flatMap({ UInt64(String(cString: $0)) }) {
            return [TestSeed(one)]
        }
        return range.map { TestSeed($0) }
    }
}

extension TestSeed: CustomStringConvertible {
    public var description: String {
        "seed \(number), replay with \(Self.environmentName)=\(number)"
    }
}

/// The failure of one seed.
public struct SeedFailure: Error, CustomStringConvertible {
    /// The seed that failed.
    public let seed: TestSeed
    /// The error of the test's body.
    public let error: any Error
    /// The last lines of the network's log.
    public let log: [String]

    public var description: String {
        let lines = log.map { "\n    \($0)" }.joined()
        return "\(seed): \(error)\(lines)"
    }
}

extension TestNetwork {
    /// Runs `body` on a new network for each of the seeds. An error of `body`, or a problem that
    /// the network noticed, ends the runs: it is thrown as a `SeedFailure`, with the seed, the way
    /// to replay it and the end of the log.
    ///
    /// Only thrown errors carry the seed: use `try network.require(…)` or the `#require` of Swift
    /// Testing in `body`. For `#expect`, parameterize the test with `TestSeed.each`.
    public static func seeds(
        _ range: ClosedRange<UInt64>, faults: Faults = .lossless,
        _ body: (TestNetwork) throws -> Void
    ) throws {
        for seed in TestSeed.each(range) {
            let network = TestNetwork(seed: seed, faults: faults)
            do {
                try body(network)
                try network.checkProblems()
            } catch {
                throw SeedFailure(seed: seed, error: error, log: network.log.suffix(30))
            }
        }
    }

    /// Runs `body` like `seeds(_:faults:_:)` with a network, but for a body that suspends.
    public nonisolated(nonsending) static func seeds(
        _ range: ClosedRange<UInt64>, faults: Faults = .lossless,
        _ body: nonisolated(nonsending) (TestNetwork) async throws -> Void
    ) async throws {
        for seed in TestSeed.each(range) {
            let network = TestNetwork(seed: seed, faults: faults)
            do {
                try await body(network)
                try network.checkProblems()
            } catch {
                throw SeedFailure(seed: seed, error: error, log: network.log.suffix(30))
            }
        }
    }
}
