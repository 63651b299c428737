/// The language of comments and pages: the checkable part of "Plain English" in CONTRIBUTING.md.
extension Rule {
    /// Pronouns in the place of the field's nouns.
    private static let pronouns: Set<String> = [
        "who", "whom", "whoever", "whatever", "nobody", "somebody", "anybody", "everybody",
    ]
    /// Beginnings of sentences that have no noun as their subject, or none that is near.
    private static let openings = ["What ", "As ", "Nor ", "But for ", "Not so "]

    static let plainEnglish = Rule(
        name: "plain English",
        applies: { file in
            (file.isSwift || file.isC || file.isScript || file.isPage)
                && file.path != "Tests/TidyTests/RuleExample.swift"
        },
        violations: { file in
            var found: [(Int, String)] = []
            var isInSentence = false
            for (index, text) in file.prose.enumerated() {
                for word in text.words where pronouns.contains(word.lowercased()) {
                    found.append((index + 1, "\"\(word)\": name the client, peer, handler, …"))
                }
                for opening in openings
                where !isInSentence && text.hasPrefix(opening) || text.contains(". " + opening) {
                    found.append((index + 1, "a sentence that begins with \"\(opening)…\""))
                }
                isInSentence = !(text.isEmpty || text.last.map { ".:?!|".contains($0) } ?? true)
            }
            return found
        })

    /// A test's name is a sentence in quotes.
    static let testNames = Rule(
        name: "test names",
        applies: {
            $0.isSwift && $0.isUnder("Tests", "Examples/Tests")
                && $0.path != "Tests/TidyTests/RuleExample.swift"
        },
        violations: { file in
            file.code.indices.compactMap { index in
                guard file.code[index].trimmed.hasPrefix("@Test") else { return nil }
                let rest = file.lines[index].trimmed.dropFirst("@Test".count)
                let next = index + 1 < file.lines.count ? file.lines[index + 1].trimmed : ""
                let isNamed = rest.hasPrefix("(\"") || rest == "(" && next.hasPrefix("\"")
                return isNamed ? nil : (index + 1, "a test without a sentence in quotes")
            }
        })

    /// Rows of tables and a link alone may be longer.
    static let pageColumns = Rule(
        name: "page columns",
        applies: { $0.isPage },
        violations: { file in
            file.lines.enumerated().compactMap { index, line in
                guard line.count > columnLimit, !line.hasPrefix("|"), line.contains(" ") else {
                    return nil
                }
                return (index + 1, "\(line.count) columns, at most \(columnLimit)")
            }
        })
}

extension SourceFile {
    var isPage: Bool { path.hasSuffix(".md") }

    /// The text of comments or of a page, without marks of lists, fenced blocks and code spans.
    var prose: [String] {
        var isFenced = false
        return (isPage || isScript ? lines : comments).map { line in
            var text = line.trimmed
            if isPage {
                if text.hasPrefix("```") { isFenced.toggle() }
                if isFenced || text.hasPrefix("```") { return "" }
            } else if isScript {
                guard text.hasPrefix("#"), !text.hasPrefix("#!") else { return "" }
            }
            text = text.drop { "/*#-| ".contains($0) }
            // Every second piece is a code span.
            let pieces = text.split(separator: "`", omittingEmptySubsequences: false)
            return pieces.enumerated().map { $0 % 2 == 0 ? String($1) : "x" }.joined()
        }
    }
}
