/// Words and calls that the repository's files may not contain.
extension Rule {
    /// Matched with case: work that is left for later belongs in an issue.
    private static let marks: Set<Substring> = ["TODO", "FIXME", "XXX", "HACK"]
    /// Matched in any case: these words belittle the reader or advertise.
    private static let airs: Set<String> = ["obviously", "simply", "blazing", "blazingly"]

    /// Does not apply to this folder, which holds the lists.
    static let words = Rule(
        name: "words",
        applies: { !$0.isUnder("Tests/TidyTests") },
        violations: { file in
            file.lines.enumerated().flatMap { index, line in
                line.words.compactMap { word in
                    guard marks.contains(word) || airs.contains(word.lowercased()) else {
                        return nil
                    }
                    return (index + 1, "\"\(word)\"")
                }
            }
        })

    /// A library reports through errors and its logger. It stops the program only in a precondition
    /// that gives the reason.
    static let libraryCalls = Rule(
        name: "library calls",
        applies: { $0.isSwift && $0.isUnder("Sources") },
        violations: { file in
            file.code.enumerated().flatMap { index, line in
                var found: [(Int, String)] = []
                if calls("fatalError", in: line) { found.append((index + 1, "fatalError")) }
                if calls("print", in: line) { found.append((index + 1, "print: use the logger")) }
                if line.contains("try!") { found.append((index + 1, "try!")) }
                return found
            }
        })

    /// True for a call of the free function of this name, not for a method of that name or a longer
    /// name.
    private static func calls(_ name: String, in line: String) -> Bool {
        line.ranges(of: name + "(").contains { range in
            guard range.lowerBound > line.startIndex else { return true }
            let before = line[line.index(before: range.lowerBound)]
            return !(before.isLetter || before.isNumber || before == "_" || before == ".")
        }
    }
}
