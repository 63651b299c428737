import Testing

/// Each rule, checked on every file of this repository.
@Suite struct RepositoryTests {
    @Test(arguments: Rule.all) func holds(_ rule: Rule) {
        for file in Repository.files {
            for finding in rule.findings(in: file) {
                Issue.record("\(finding.description)")
            }
        }
    }

    /// Checks that the walk finds these files: a walk from the wrong folder would report no
    /// finding.
    @Test(arguments: [
        "Sources/EventLoop/Seam/Driver.swift", "Sources/CLinux/include/CLinux.h",
        "Tests/TidyTests/Rule.swift", "Scripts/setup", "README.md", ".ci/run",
    ])
    func walks(_ path: String) {
        #expect(Repository.files.contains { $0.path == path && !$0.lines.isEmpty })
    }
}
