/// Tests that the code of docs/SERVICES.md is the code that is compiled here.
import Foundation
import TestSupport
import Testing

@Suite struct ArticleTests {
    private static let names = ["group", "limit", "metrics", "logger"]

    private func read(_ path: String) throws -> String {
        try String(
            contentsOfFile: "\(PackageFiles.root)/\(path)", encoding: .utf8)
    }

    private func part(
        of path: String, from begin: String, to end: String
    ) throws -> String {
        let text = try read(path)
        let start = try #require(text.firstRange(of: begin), "no \(begin)").upperBound
        let stop = try #require(text[start...].firstRange(of: end)).lowerBound
        return text[start..<stop].filter { !$0.isWhitespace }
    }

    @Test("an example in the article is the code compiled here", arguments: names)
    func compiled(_ name: String) throws {
        let article = try part(
            of: "docs/SERVICES.md", from: "<!-- example: \(name) -->\n```swift\n", to: "```")
        let code = try part(
            of: "Examples/Tests/ServicesTests/Support/Article.swift",
            from: "// example: begin \(name)\n", to: "// example: end")
        #expect(article == code)
    }

    @Test("every Swift block in the article is an example")
    func all() throws {
        #expect(try read("docs/SERVICES.md").ranges(of: "```swift").count == Self.names.count)
    }
}
