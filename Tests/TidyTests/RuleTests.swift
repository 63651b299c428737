import Testing

/// Each rule reports its bad example at the right line, and passes the good one next to it.
@Suite struct RuleTests {
    @Test("each rule reports its bad example at the right line", arguments: RuleExample.all)
    func findsTheBadLine(_ example: RuleExample) throws {
        let bad = SourceFile(path: example.path, text: example.bad)
        let lines = example.rule.findings(in: bad).map(\.line)
        #expect(lines == [example.line])
    }

    @Test("each rule accepts its good example", arguments: RuleExample.all)
    func letsTheGoodPass(_ example: RuleExample) {
        let good = SourceFile(path: example.path, text: example.good)
        #expect(example.rule.findings(in: good).isEmpty)
    }

    @Test("every rule has an example", arguments: Rule.all)
    func everyRuleHasAnExample(_ rule: Rule) {
        #expect(RuleExample.all.contains { $0.rule.name == rule.name })
    }

    @Test("a finding names its file, its line and its rule")
    func aFindingNamesItsPlaceAndItsRule() throws {
        let file = SourceFile(path: "Sources/Epoll/A.swift", text: "import NetAPI\n")
        let finding = try #require(Rule.arrows.findings(in: file).first)
        #expect(
            finding.description
                == "Sources/Epoll/A.swift:1: arrows: Epoll may not import NetAPI")
    }

    @Test("a folder of Sources without its row in the import table is a finding")
    func aNewRoomNeedsItsRow() {
        let file = SourceFile(path: "Sources/Nowhere/A.swift", text: "import Glibc\n")
        #expect(Rule.arrows.findings(in: file).map(\.line) == [1])
    }

    @Test(
        "a rule does not apply to files outside its scope",
        arguments: [
            ("Tests/A/A.swift", Rule.functionLength), ("Tests/A/A.swift", .libraryCalls),
            ("Tests/A/A.swift", .arrows), ("Tests/A/A.swift", .opening),
            ("Sources/EventLoop/A.swift", .documentation), ("README.md", .columns),
            ("Sources/Epoll/A.swift", .noBackendConditions), ("Scripts/a.patch", .columns),
        ])
    func isNotHeldAgainstOthers(_ path: String, _ rule: Rule) {
        #expect(!rule.applies(SourceFile(path: path, text: "")))
    }
}
