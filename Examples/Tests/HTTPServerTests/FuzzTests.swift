import TestSupport
/// A run of a few seconds, to check that the fuzzer builds and that its corpus passes.
import Testing

@Suite struct FuzzTests {
    @Test("a short fuzz run reports no failure")
    func aShortRunFindsNothing() throws {
        let script = "\(PackageFiles.root)/Scripts/fuzz"
        let result = try ChildProcess([script, "3"]).finish(within: .seconds(120))
        #expect(result.end == .exited(0), "see .build/fuzz for the input")
    }
}
