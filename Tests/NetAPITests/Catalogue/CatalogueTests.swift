/// Tests that the code in the documentation catalogues is the code that is compiled in a test
/// target.
import Foundation
import MillraceTestSupport
import Testing

@Suite struct CatalogueTests {
    /// The catalogues of the five products.
    private static let catalogues = [
        "Sources/NetAPI/NetAPI.docc", "Sources/TLS/NetTLS.docc",
        "Sources/Testing/NetAPITesting.docc", "Sources/Services/NetServices.docc",
        "Sources/Metrics/NetMetrics.docc",
    ]
    /// The compiled examples. The last file is compiled in the package of the examples, whose
    /// traits are on.
    private static let sources =
        files(in: "Tests/NetAPITests/Catalogue", ".swift") + [
            "Tests/NetAPITestingTests/Support/Catalogue.swift",
            "Examples/Tests/ServicesTests/Support/Article.swift",
        ]
    static let pages = catalogues.flatMap { files(in: $0, ".md") }

    private static func files(in folder: String, _ suffix: String) -> [String] {
        let root = PackageFiles.root
        let names = try? FileManager.default.subpathsOfDirectory(atPath: "\(root)/\(folder)")
        // This file quotes the marks.
        return (names ?? []).filter { $0.hasSuffix(suffix) && $0 != "CatalogueTests.swift" }
            .sorted().map { "\(folder)/\($0)" }
    }

    /// The blocks of Swift in a page, each with the line above it.
    private static func blocks(of page: String) throws -> [(above: Substring, code: Substring)] {
        let fence = "\n```swift\n"
        let text = try PackageFiles.read(page)
        return try text.ranges(of: fence).map { fence in
            let above = text[..<fence.lowerBound].split(separator: "\n").last ?? ""
            let rest = text[fence.upperBound...]
            let end = try #require(rest.firstRange(of: "```"), "\(page): an open block")
            return (above, rest[..<end.lowerBound])
        }
    }

    /// The parts of a file between marks, by their names; the parts of one name are joined.
    private static func examples() throws -> [String: String] {
        var found: [String: String] = [:]
        for source in sources {
            let text = try PackageFiles.read(source)
            for part in text.split(separator: "// example: begin ").dropFirst() {
                let name = part.prefix { !$0.isNewline }
                let end = try #require(part.firstRange(of: "// example: end")).lowerBound
                found[String(name), default: ""] += part[name.endIndex..<end]
            }
        }
        return found
    }

    private static func name(in mark: Substring) -> String? {
        guard mark.hasPrefix("<!-- example: "), mark.hasSuffix(" -->") else { return nil }
        return String(mark.dropFirst("<!-- example: ".count).dropLast(" -->".count))
    }

    @Test("every block of Swift in a page of a catalogue is compiled here", arguments: pages)
    func blocksAreCompiled(_ page: String) throws {
        let examples = try Self.examples()
        for block in try Self.blocks(of: page) {
            guard let name = Self.name(in: block.above), let compiled = examples[name] else {
                Issue.record("\(page): no compiled example for the block below \(block.above)")
                continue
            }
            // Only white space may differ: the block is deeper in its test.
            let isSame =
                block.code.filter { !$0.isWhitespace } == compiled.filter { !$0.isWhitespace }
            #expect(isSame, "\(page): \(name) is \(block.code), and compiled is \(compiled)")
        }
    }

    @Test("the catalogues have their pages, and no two examples have one name")
    func pagesAreFound() throws {
        #expect(Self.pages.count >= 19)
        let names = try Self.pages.flatMap { try Self.blocks(of: $0) }.map(\.above)
        #expect(names.count > 40)
        #expect(Set(names).count == names.count)
    }

    @Test("every compiled example stands in a page")
    func examplesAreUsed() throws {
        let used = try Set(Self.pages.flatMap { try Self.blocks(of: $0) }.map(\.above))
        for name in try Self.examples().keys where !["limit", "logger"].contains(name) {
            #expect(used.contains("<!-- example: \(name) -->"), "\(name) stands in no page")
        }
    }
}
