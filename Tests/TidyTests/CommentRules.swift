/// Rules about comments: a file's opening sentence, the documentation of public declarations, and
/// the reason for each claim that the compiler does not check.
extension Rule {
    /// A sentence of at least four words before the first declaration; imports may stand above it.
    static let opening = Rule(
        name: "opening sentence",
        applies: { $0.isSwift && $0.isUnder("Sources") },
        violations: { file in
            let head = file.lines.prefix(12)
            let first = head.firstIndex { line in
                !line.trimmed.isEmpty && !line.words.contains("import")
                    || line.trimmed.hasPrefix("//")
            }
            guard let first, file.lines[first].trimmed.hasPrefix("//") else {
                return [(1, "does not say what it is for within its first 12 lines")]
            }
            let sentence = file.lines[first...].prefix { $0.trimmed.hasPrefix("//") }
            guard sentence.joined(separator: " ").words.count >= 4 else {
                return [(first + 1, "says too little of what it is for")]
            }
            return []
        })

    /// Each `public` declaration and each requirement of a public protocol has a doc comment.
    /// Exempt are enum cases and static constants, whose names may be enough, and members that a
    /// standard protocol defines. A requirement's default implementation in the same file is exempt
    /// too.
    static let documentation = Rule(
        name: "documentation",
        applies: { $0.isSwift && $0.isUnder("Sources/NetAPI", "Sources/Testing") },
        violations: { file in
            let requirements = publicRequirements(in: file)
            let described = Set(requirements.compactMap { declaredName(file.code[$0]) })
            return file.code.indices.compactMap { index in
                let code = file.code[index]
                if !requirements.contains(index) {
                    guard code.words.contains("public"), !isSelfExplaining(code) else { return nil }
                    if let name = declaredName(code), described.contains(name) { return nil }
                }
                let above = linesAbove(index, in: file)
                guard above.first?.hasPrefix("///") != true else { return nil }
                return (index + 1, "no /// above: \(file.lines[index].trimmed)")
            }
        })

    private static func isSelfExplaining(_ code: String) -> Bool {
        let words = code.words
        if words.contains("import") || words.contains("extension") { return true }
        return [
            "static let ", "init()", "init(stringLiteral", "init(integerLiteral", " description:",
            " debugDescription:", "func hash(into", "func == (", "func ==(", "func < (", "func <(",
        ].contains { code.contains($0) }
    }

    /// "onOpen" for `public func onOpen(…`; nil for an initializer, which has no name.
    private static func declaredName(_ code: String) -> Substring? {
        let words = code.words
        guard let at = words.firstIndex(where: { $0 == "func" || $0 == "var" }) else { return nil }
        return words[(at + 1)...].first
    }

    /// Lines that declare something one level inside a public protocol.
    private static func publicRequirements(in file: SourceFile) -> Set<Int> {
        let declaring: Set<Substring> = ["func", "var", "init", "subscript", "associatedtype"]
        var found: Set<Int> = []
        var depth = 0
        var protocolDepth: Int?
        for (index, line) in file.code.enumerated() {
            let words = line.words
            if protocolDepth == nil && words.contains("public") && words.contains("protocol") {
                protocolDepth = depth
            } else if let outer = protocolDepth, depth == outer + 1,
                !declaring.isDisjoint(with: words)
            {
                found.insert(index)
            }
            depth += line.count { $0 == "{" } - line.count { $0 == "}" }
            if let outer = protocolDepth, depth <= outer, line.contains("}") { protocolDepth = nil }
        }
        return found
    }

    /// A plain comment of three words or more on the same line or directly above. A doc comment
    /// does not count: it describes the declaration, not the reason for the missing check.
    static let trust = Rule(
        name: "reason for trust",
        applies: { $0.isSwift },
        violations: { file in
            let claims = ["@unchecked Sendable", "nonisolated(unsafe)", "unowned(unsafe)"]
            return file.code.enumerated().compactMap { index, line in
                guard let claim = claims.first(where: { line.contains($0) }) else { return nil }
                let above = linesAbove(index, in: file).prefix { isPlainComment($0) }
                let reason = file.comments[index] + " " + above.joined(separator: " ")
                guard reason.words.count < 3 else { return nil }
                return (index + 1, "\(claim) without its reason in a // comment")
            }
        })

    private static func isPlainComment(_ line: Substring) -> Bool {
        line.hasPrefix("//") && !line.hasPrefix("///")
    }

    /// The lines above a declaration, nearest first, without its attributes.
    private static func linesAbove(_ index: Int, in file: SourceFile) -> [Substring] {
        var lines: [Substring] = []
        var isAmongAttributes = true
        var open = 0
        for above in stride(from: index - 1, through: 0, by: -1) {
            let code = file.code[above]
            open += code.count { $0 == ")" } - code.count { $0 == "(" }
            if isAmongAttributes && (open > 0 || isAttribute(code)) { continue }
            isAmongAttributes = false
            lines.append(file.lines[above].trimmed)
            // A longer doc comment would be a finding.
            if lines.count == 60 { break }
        }
        return lines
    }

    /// True if the line holds only attributes: a whole declaration may begin with one too.
    private static func isAttribute(_ code: String) -> Bool {
        let declaring: Set<Substring> = [
            "func", "var", "let", "init", "case", "struct", "class", "enum", "protocol",
            "extension", "typealias", "subscript", "import", "associatedtype",
        ]
        return code.trimmed.hasPrefix("@") && declaring.isDisjoint(with: code.words)
    }
}
