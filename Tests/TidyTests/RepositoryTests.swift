import Testing

/// The rules, held against every file of this repository.
@Suite struct RepositoryTests {
    @Test(arguments: Rule.all) func holds(_ rule: Rule) {
        for file in Repository.files {
            for finding in rule.findings(in: file) {
                Issue.record("\(finding.description)")
            }
        }
    }

    /// A walk that starts in the wrong place finds nothing wrong.
    @Test(arguments: [
        "Sources/EventLoop/Seam/Driver.swift", "Sources/CLinux/include/CLinux.h",
        "Tests/TidyTests/Rule.swift", "Scripts/setup", "README.md", ".ci/run",
    ])
    func walks(_ path: String) {
        #expect(Repository.files.contains { $0.path == path && !$0.lines.isEmpty })
    }
}
