/// A rule for the files of this repository.
struct Rule: Sendable, CustomStringConvertible {
    let name: String
    let applies: @Sendable (SourceFile) -> Bool
    /// The lines that break the rule, from 1, each with a description.
    let violations: @Sendable (SourceFile) -> [(line: Int, what: String)]

    var description: String { name }

    func findings(in file: SourceFile) -> [Finding] {
        guard applies(file) else { return [] }
        return violations(file).map {
            Finding(path: file.path, line: $0.line, rule: name, what: $0.what)
        }
    }

    static let all: [Rule] = [
        .columns, .pageColumns, .fileLength, .functionLength, .notEmpty, .words, .plainEnglish,
        .testNames,
        .libraryCalls, .opening, .documentation, .trust, .arrows, .noBackendConditions,
    ]
}
