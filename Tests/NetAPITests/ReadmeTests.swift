/// The README's code is what the tests compile, and it works.
import NetAPI
import Testing

@Suite struct ReadmeTests {
    /// The fenced block after `<!-- example: name -->`.
    private func example(_ name: String) throws -> Substring {
        let readme = try PackageFiles.read("README.md")
        let mark = "<!-- example: \(name) -->"
        let start = try #require(readme.firstRange(of: mark), "README.md has no \(mark)").upperBound
        let fence = try #require(readme[start...].firstRange(of: "```swift\n")).upperBound
        let end = try #require(readme[fence...].firstRange(of: "```")).lowerBound
        return readme[fence..<end]
    }

    /// What stands between the marks of `ReadmeEcho.swift`.
    private func compiledExample() throws -> String {
        let source = try PackageFiles.read("Tests/NetAPITests/Support/ReadmeEcho.swift")
        var found = ""
        for part in source.split(separator: "// example: begin\n").dropFirst() {
            let end = try #require(part.firstRange(of: "// example: end")).lowerBound
            found += part[..<end]
        }
        return found
    }

    @Test func theFirstExampleIsTheOneCompiledHere() throws {
        let compiled = try compiledExample()
        #expect(compiled.contains("onTraffic") && compiled.contains("Server.main"))
        #expect(essence(try example("echo")) == essence(compiled))
    }

    /// Without white space, and without the address, which is the reader's to choose.
    private func essence(_ code: some StringProtocol) -> String {
        let packed = code.filter { !$0.isWhitespace }
        guard let start = packed.firstRange(of: "\"tcp://"),
            let end = packed[start.upperBound...].firstIndex(of: "\"")
        else { return String(packed) }
        return packed[..<start.lowerBound] + "ADDRESS" + packed[packed.index(after: end)...]
    }

    @Test(arguments: Setup.all)
    func theFirstExampleEchoes(_ setup: Setup) throws {
        let server = try Server(Echo(), listen: anyPort, options: setup.options())
        try serve(server) { server in
            let client = try server.connect()
            #expect(try client.roundTrip("hello, README"))
        }
    }
}
