/// A run of a few seconds, to check that the fuzzers build and that their corpus passes.
import TestSupport
import Testing

@Suite struct FuzzTests {
    @Test("a short fuzz run reports no failure", arguments: ["http", "resp", "websocket"])
    func aShortRunFindsNothing(codec: String) throws {
        let script = "\(PackageFiles.root)/Scripts/fuzz"
        let result = try ChildProcess([script, codec, "2"]).finish(within: .seconds(240))
        #expect(result.end == .exited(0), "see .build/fuzz for the input")
    }
}
