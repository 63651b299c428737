/// Limits for the length of lines, functions and files.
extension Rule {
    static let columnLimit = 100
    static let fileLimit = 400
    static let functionLimit = 70

    static let columns = Rule(
        name: "columns",
        applies: { $0.isSwift || $0.isC || $0.isScript },
        violations: { file in
            file.lines.enumerated().compactMap { index, line in
                // Bytes first: counting characters is slow, and few lines come near the limit.
                guard line.utf8.count > columnLimit, line.count > columnLimit else { return nil }
                return (index + 1, "\(line.count) columns, at most \(columnLimit)")
            }
        })

    static let fileLength = Rule(
        name: "file length",
        applies: { $0.isSwift || $0.isC },
        violations: { file in
            guard file.lines.count > fileLimit else { return [] }
            return [(fileLimit + 1, "\(file.lines.count) lines, at most \(fileLimit)")]
        })

    static let notEmpty = Rule(
        name: "not empty",
        applies: { $0.isUnder("Sources", "Tests") },
        violations: { file in
            file.lines.contains { !$0.trimmed.isEmpty } ? [] : [(1, "an empty file")]
        })

    /// The lines between a function's braces. Closures and types inside it count as its lines.
    static let functionLength = Rule(
        name: "function length",
        applies: { $0.isSwift && $0.isUnder("Sources") },
        violations: { file in
            FunctionFinder(file).functions.compactMap { function in
                guard function.bodyLines > functionLimit else { return nil }
                return (
                    function.line,
                    "\(function.name) has \(function.bodyLines) lines, at most \(functionLimit)"
                )
            }
        })
}

/// Finds functions and their bodies by counting brackets.
struct FunctionFinder {
    struct Function {
        let name: Substring
        let line: Int
        let bodyLines: Int
    }

    private struct Piece {
        let text: Substring
        let line: Int
    }

    private let pieces: [Piece]

    init(_ file: SourceFile) {
        var pieces: [Piece] = []
        for (index, line) in file.code.enumerated() {
            var rest = line[...]
            while let first = rest.first {
                let word = rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" }
                let text = word.isEmpty ? rest.prefix(1) : word
                if !first.isWhitespace { pieces.append(Piece(text: text, line: index + 1)) }
                rest = rest.dropFirst(text.count)
            }
        }
        self.pieces = pieces
    }

    var functions: [Function] {
        pieces.indices.compactMap { index in
            guard isDeclaration(index), let body = body(ofDeclarationAt: index) else { return nil }
            let named = pieces[index].text == "func" ? index + 1 : index
            return Function(
                name: pieces[named].text, line: pieces[index].line,
                bodyLines: max(0, body.upperBound - body.lowerBound - 1))
        }
    }

    private func isDeclaration(_ index: Int) -> Bool {
        switch pieces[index].text {
        case "func": return index + 1 < pieces.count
        case "init", "deinit", "subscript":
            // `.init(…)` and `self.init(…)` are calls.
            return index == 0 || ![".", "\\"].contains(pieces[index - 1].text)
        default: return false
        }
    }

    /// The lines of the two braces; nil for a requirement of a protocol, which has no body.
    private func body(ofDeclarationAt start: Int) -> Range<Int>? {
        var depth = 0
        for index in pieces.index(after: start)..<pieces.endIndex {
            switch pieces[index].text {
            case "(", "[": depth += 1
            case ")", "]": depth -= 1
            case "{" where depth == 0: return braces(from: index)
            case "}" where depth == 0: return nil
            case let text where depth == 0 && Self.nextDeclaration.contains(text): return nil
            default: break
            }
        }
        return nil
    }

    private static let nextDeclaration: Set<Substring> = [
        "func", "var", "let", "init", "deinit", "subscript", "case", "struct", "enum", "protocol",
        "extension", "typealias", "associatedtype", "static", "mutating", "public", "package",
        "private", "internal", "fileprivate",
    ]

    private func braces(from open: Int) -> Range<Int>? {
        var depth = 0
        for index in open..<pieces.endIndex {
            if pieces[index].text == "{" { depth += 1 }
            if pieces[index].text == "}" { depth -= 1 }
            if depth == 0 { return pieces[open].line..<pieces[index].line }
        }
        return nil
    }
}
