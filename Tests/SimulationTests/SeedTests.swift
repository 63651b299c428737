import Glibc
import Testing

/// Runs a whole server thousands of times, each time with different faults. `make seed SEED=17`
/// repeats one run.
@Suite struct SeedTests {
    @Test("every byte accounted for, every connection opened and closed once, all memory back")
    func seeds() throws {
        let environment = { (name: String) in getenv(name).flatMap { UInt64(String(cString: $0)) } }
        let first: UInt64
        let count: UInt64
        if let one = environment("MILLRACE_SEED") {
            (first, count) = (one, 1)
        } else {
            first = environment("MILLRACE_SEED_FIRST") ?? 1
            count = environment("MILLRACE_SEEDS") ?? 2_000
        }
        var failures = 0
        for seed in first..<(first + count) {
            let run = SeedRun(seed: seed)
            try run.run()
            guard !run.mistakes.isEmpty else { continue }
            failures += 1
            let mistakes = run.mistakes.prefix(5).joined(separator: "; ")
            Issue.record("seed \(seed): \(mistakes). Replay with `make seed SEED=\(seed)`")
            if failures == 5 { break }
        }
        #expect(count > 0)
    }
}
