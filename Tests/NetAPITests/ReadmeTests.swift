/// Tests that the README's code is the code that is compiled here, and that it works.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ReadmeTests {
    /// The examples of the README, in its order.
    static let names = [
        "echo", "state", "frames", "serve", "timers", "client", "proxy", "offload", "tls", "tasks",
        "restart", "per-loop", "statistics", "logging", "datagrams",
    ]
    /// The files in `Support` that hold the compiled examples.
    private static let sources = ["ReadmeEcho", "ReadmeHandlers", "ReadmeServers"]

    /// The fenced block after `<!-- example: name -->`.
    private func example(_ name: String, of page: String = "README.md") throws -> Substring {
        let readme = try PackageFiles.read(page)
        let mark = "<!-- example: \(name) -->"
        let start = try #require(readme.firstRange(of: mark), "\(page) has no \(mark)").upperBound
        let fence = try #require(readme[start...].firstRange(of: "```swift\n")).upperBound
        let end = try #require(readme[fence...].firstRange(of: "```")).lowerBound
        return readme[fence..<end]
    }

    /// The lines between the marks of this name in `sources`; an example may have several parts.
    private func compiledExample(_ name: String) throws -> String {
        let mark = "// example: begin \(name)\n"
        var found = ""
        for source in Self.sources {
            let text = try PackageFiles.read("Tests/NetAPITests/Support/\(source).swift")
            for part in text.split(separator: mark).dropFirst() {
                let end = try #require(part.firstRange(of: "// example: end")).lowerBound
                found += part[..<end]
            }
        }
        return found
    }

    @Test("an example in the README is the code compiled here", arguments: names)
    func anExampleIsTheOneCompiledHere(_ name: String) throws {
        let compiled = try compiledExample(name)
        #expect(!compiled.isEmpty, "no file in Support has the marks of \(name)")
        #expect(essence(try example(name)) == essence(compiled))
    }

    @Test("the example in docs/DEPLOYING.md is the code compiled here")
    func deploying() throws {
        let page = "docs/DEPLOYING.md"
        #expect(
            essence(try example("systemd", of: page)) == essence(try compiledExample("systemd")))
        #expect(try PackageFiles.read(page).ranges(of: "```swift").count == 1)
    }

    @Test("the first example in the README is a whole program")
    func theFirstExampleIsAWholeProgram() throws {
        let compiled = try compiledExample("echo")
        #expect(compiled.contains("onTraffic") && compiled.contains("Server.main"))
    }

    /// A block of Swift without a mark would be compiled by no test.
    @Test("every Swift block in the README is a marked example")
    func everyBlockOfSwiftIsAnExample() throws {
        let readme = try PackageFiles.read("README.md")
        let marks = readme.ranges(of: "<!-- example: ").count
        #expect(marks == Self.names.count)
        #expect(readme.ranges(of: "```swift").count == marks)
    }

    /// The code without white space and without the address, which the reader chooses.
    private func essence(_ code: some StringProtocol) -> String {
        let packed = code.filter { !$0.isWhitespace }
        guard let start = packed.firstRange(of: "\"tcp://"),
            let end = packed[start.upperBound...].firstIndex(of: "\"")
        else { return String(packed) }
        return packed[..<start.lowerBound] + "ADDRESS" + packed[packed.index(after: end)...]
    }

    @Test("the first example in the README echoes", arguments: Setup.all)
    func theFirstExampleEchoes(_ setup: Setup) throws {
        let server = try Server(Echo(), listen: anyPort, options: setup.options())
        try serve(server) { server in
            let client = try server.connect()
            #expect(try client.roundTrip("hello, README"))
        }
    }
}
