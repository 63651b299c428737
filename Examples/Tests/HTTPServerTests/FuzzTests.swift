import TestSupport
/// A run of a few seconds, to check that the fuzzer builds and that its corpus passes.
import Testing

@Suite struct FuzzTests {
    @Test("a short fuzz run reports no failure")
    func aShortRunFindsNothing() throws {
        let script = "\(ServerProgram.repository)/Scripts/fuzz"
        let result = try Program([script, "3"]).finish(within: 120)
        #expect(result.status == 0, "see .build/fuzz for the input")
    }
}
