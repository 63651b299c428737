/// One thing that holds everywhere in this repository.
struct Rule: Sendable, CustomStringConvertible {
    let name: String
    let applies: @Sendable (SourceFile) -> Bool
    /// Lines from 1, with what is wrong there.
    let violations: @Sendable (SourceFile) -> [(line: Int, what: String)]

    var description: String { name }

    func findings(in file: SourceFile) -> [Finding] {
        guard applies(file) else { return [] }
        return violations(file).map {
            Finding(path: file.path, line: $0.line, rule: name, what: $0.what)
        }
    }

    static let all: [Rule] = [
        .columns, .fileLength, .functionLength, .notEmpty, .words, .libraryCalls, .opening,
        .documentation, .trust, .arrows, .noBackendConditions,
    ]
}
