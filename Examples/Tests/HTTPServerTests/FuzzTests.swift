import TestSupport
/// A few seconds of the fuzzer, so that it is known to build and to start from a corpus that holds.
import Testing

@Suite struct FuzzTests {
    @Test func aShortRunFindsNothing() throws {
        let script = "\(ServerProgram.repository)/Scripts/fuzz"
        let result = try Program([script, "3"]).finish(within: 120)
        #expect(result.status == 0, "see .build/fuzz for the input")
    }
}
