import Glibc
import Testing

/// Runs a whole server thousands of times, each time with different faults. `make seed SEED=17`
/// repeats one run.
@Suite struct SeedTests {
    @Test("every byte accounted for, every connection opened and closed once, all memory back")
    func seeds() async throws {
        let environment = { (name: String) in getenv(name).flatMap { UInt64(String(cString: $0)) } }
        let first: UInt64
        let count: UInt64
        if let one = environment("MILLRACE_SEED") {
            (first, count) = (one, 1)
        } else {
            first = environment("MILLRACE_SEED_FIRST") ?? 1
            count = environment("MILLRACE_SEEDS") ?? 2_000
        }
        // Runs share nothing, so both processors of a small machine have half of them.
        try await withThrowingTaskGroup(of: UInt64.self) { group in
            for half in 0..<min(2, count) {
                group.addTask { try Self.run(stride(from: first + half, to: first + count, by: 2)) }
            }
            let done = try await group.reduce(0, +)
            #expect(done == count)
        }
    }

    /// Runs each seed and returns their number; ends early after five failures.
    private static func run(_ seeds: StrideTo<UInt64>) throws -> UInt64 {
        var (count, failures) = (UInt64(0), 0)
        for seed in seeds {
            let run = SeedRun(seed: seed)
            try run.run()
            count += 1
            guard !run.mistakes.isEmpty else { continue }
            failures += 1
            let mistakes = run.mistakes.prefix(5).joined(separator: "; ")
            Issue.record("seed \(seed): \(mistakes). Replay with `make seed SEED=\(seed)`")
            if failures == 5 { break }
        }
        return count
    }
}
