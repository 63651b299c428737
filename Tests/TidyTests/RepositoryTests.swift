import Testing

/// Each rule, checked on every file of this repository.
@Suite struct RepositoryTests {
    @Test("each rule has no finding in any file of the repository", arguments: Rule.all)
    func holds(_ rule: Rule) {
        for file in Repository.files {
            for finding in rule.findings(in: file) {
                Issue.record("\(finding.description)")
            }
        }
    }

    @Test("the consumer of the examples names every public type, so that none is ambiguous")
    func consumer() throws {
        let path = "Examples/Tests/consumer/Consumer.swift"
        let consumer = try #require(Repository.files.first { $0.path == path })
        let named = Set(consumer.code.flatMap(\.words))
        let kinds: Set<Substring> = ["struct", "class", "enum", "protocol", "actor", "typealias"]
        var types: Set<Substring> = []
        for file in Repository.files where file.isUnder("Sources/NetAPI") {
            for words in file.code.map(\.words) where words.first == "public" {
                guard let kind = words.firstIndex(where: kinds.contains) else { continue }
                types.formUnion(words[(kind + 1)...].prefix(1))
            }
        }
        #expect(types.count > 30)
        #expect(types.subtracting(named) == [])
    }

    /// DocC puts a type that is in no group of topics at the end of the page, without a word.
    @Test(
        "the landing page of each module names its public types",
        arguments: [
            ("NetAPI", "NetAPI"), ("TLS", "NetTLS"), ("Testing", "NetAPITesting"),
            ("Metrics", "NetMetrics"),
        ])
    func landingPages(_ folder: String, _ module: String) throws {
        let path = "Sources/\(folder)/\(module).docc/\(module).md"
        let page = try #require(Repository.files.first { $0.path == path }, "no \(path)")
        let kinds: Set<Substring> = ["struct", "class", "enum", "protocol", "actor", "typealias"]
        var types: Set<String> = []
        for file in Repository.files where file.isUnder("Sources/\(folder)") && file.isSwift {
            for line in file.code where line.hasPrefix("public ") {
                guard let kind = line.words.firstIndex(where: kinds.contains) else { continue }
                types.formUnion(line.words[(kind + 1)...].prefix(1).map(String.init))
            }
        }
        #expect(!types.isEmpty)
        for type in types {
            #expect(page.lines.contains("- ``\(type)``"), "\(path) does not name \(type)")
        }
    }

    /// A name without a rule is a command that succeeds and does nothing.
    @Test("each command of the Makefile is phony, and each phony name has a rule")
    func commands() throws {
        let lines = try #require(Repository.files.first { $0.path == "Makefile" }).lines
        let start = try #require(lines.firstIndex { $0.hasPrefix(".PHONY:") })
        let end = try #require(lines[start...].firstIndex { !$0.hasSuffix("\\") })
        let phony = lines[start...end].joined().split { $0 == " " || $0 == "\t" || $0 == "\\" }
        let rules = lines.compactMap { line -> Substring? in
            let name = line.prefix { $0.isLowercase || $0 == "-" }
            return line.dropFirst(name.count).hasPrefix(":") && !name.isEmpty ? name : nil
        }
        #expect(rules.count > 20)
        #expect(Set(phony.dropFirst()) == Set(rules))
    }

    /// Checks that the walk finds these files: a walk from the wrong folder would report no
    /// finding.
    @Test(
        "the walk of the repository finds the expected files",
        arguments: [
            "Sources/EventLoop/Seam/Driver.swift", "Sources/CLinux/include/CLinux.h",
            "Tests/TidyTests/Rule.swift", "Scripts/setup", "README.md", ".ci/run",
        ])
    func walks(_ path: String) {
        #expect(Repository.files.contains { $0.path == path && !$0.lines.isEmpty })
    }
}
