/// Tests that the code of docs/TESTING.md is compiled, and that its claims hold.
import Foundation
import NetAPI
import NetAPITesting
import Testing

@Suite struct ArticleTests {
    private static let names = ["handler", "first", "bug", "cuts", "shared", "seeds", "time"]

    private static func read(_ path: String) throws -> String {
        let root = URL(filePath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        return try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }

    private func part(
        of text: String, from begin: String, to end: String
    ) throws -> Substring {
        let start = try #require(text.firstRange(of: begin), "no \(begin)").upperBound
        let stop = try #require(text[start...].firstRange(of: end)).lowerBound
        return text[start..<stop]
    }

    @Test("an example in the article is the code compiled here", arguments: names)
    func compiled(_ name: String) throws {
        let article = try part(
            of: Self.read("docs/TESTING.md"), from: "<!-- example: \(name) -->\n```swift\n",
            to: "```")
        let code = try part(
            of: Self.read("Tests/NetAPITestingTests/Support/Article.swift"),
            from: "// example: begin \(name)\n", to: "// example: end")
        #expect(article.filter { !$0.isWhitespace } == code.filter { !$0.isWhitespace })
    }

    @Test("every Swift block in the article is an example")
    func all() throws {
        let article = try Self.read("docs/TESTING.md")
        #expect(article.ranges(of: "```swift").count == Self.names.count)
    }

    @Test("a test that sends one line passes with the bug, and four of thirteen cuts do")
    func hasty() throws {
        let server = try TestServer(Hasty())
        #expect(try server.reply(to: "hello\n") == "HELLO\n")
        let right = try everyCut(of: "hello\nworld\n").filter {
            try server.reply(to: $0) == "HELLO\nWORLD\n"
        }
        let whole = [#""hello\nworld\n""#, #""hello" | "\nworld\n""#]
        #expect(
            right.map(\.description) == whole
                + [#""hello\n" | "world\n""#, #""hello\nworld" | "\n""#])
        #expect(everyCut(of: "hello\nworld\n").count == 13)
    }

    @Test("every cut passes with the shared buffer, and some seeds fail")
    func mixing() throws {
        let server = try TestServer { Mixing() }
        for cut in everyCut(of: "hello\nworld\n") {
            #expect(try server.reply(to: cut) == "HELLO\nWORLD\n")
        }
        var failed: [UInt64] = []
        for number in 1...100 as ClosedRange<UInt64> {
            let network = TestNetwork(seed: TestSeed(number), faults: .lossless)
            let server = try TestServer(on: network) { Mixing() }
            let peers = try [server.connect(), server.connect()]
            network.together {
                peers[0].send("hello\nhello\n")
                peers[1].send("world\nworld\n")
            }
            let received = peers.map(\.received)
            if received != ["HELLO\nHELLO\n", "WORLD\nWORLD\n"] { failed.append(number) }
        }
        #expect(!failed.isEmpty && failed.count < 100, "\(failed)")
        #expect(failed.first == 3, "the seed that the article names")
    }
}
