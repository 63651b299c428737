/// A file in the form that the rules read: its lines, and the same lines with only the code or only
/// the comments.
struct SourceFile: Sendable {
    /// Relative to the repository's root.
    let path: String
    let lines: [String]
    /// The lines with comments and the contents of strings replaced by blanks.
    let code: [String]
    /// The lines with all text except comments replaced by blanks.
    let comments: [String]

    init(path: String, text: String) {
        self.path = path
        lines = Self.split(text.utf8)
        guard let language = Language(path: path) else {
            code = lines
            comments = lines.map { _ in "" }
            return
        }
        var separator = CommentSeparator(text, language)
        separator.run()
        code = Self.split(separator.code)
        comments = Self.split(separator.comments)
    }

    var isSwift: Bool { path.hasSuffix(".swift") }
    var isC: Bool { path.hasSuffix(".c") || path.hasSuffix(".h") }
    /// True for a file without an extension, like the commands of this repository, and for .sh and
    /// .py.
    var isScript: Bool {
        let name = path.split(separator: "/").last ?? ""
        return !name.contains(".") || name.hasSuffix(".sh") || name.hasSuffix(".py")
    }

    func isUnder(_ folders: String...) -> Bool { folders.contains { path.hasPrefix($0 + "/") } }

    /// "NetAPI" for Sources/NetAPI/Server.swift; nil outside of Sources.
    var room: String? {
        let parts = path.split(separator: "/")
        return parts.count > 2 && parts[0] == "Sources" ? String(parts[1]) : nil
    }

    /// A line break at the end starts no further line.
    private static func split(_ bytes: some Collection<UInt8>) -> [String] {
        var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        return lines.map { String(decoding: $0, as: UTF8.self) }
    }
}

enum Language {
    case swift
    case c

    init?(path: String) {
        if path.hasSuffix(".swift") {
            self = .swift
        } else if path.hasSuffix(".c") || path.hasSuffix(".h") {
            self = .c
        } else {
            return nil
        }
    }
}

/// One place in one file that breaks a rule.
struct Finding: CustomStringConvertible, Hashable {
    let path: String
    /// The line's number, from 1.
    let line: Int
    let rule: String
    let what: String

    var description: String { "\(path):\(line): \(rule): \(what)" }
}

extension String {
    var trimmed: Substring {
        let start = drop { $0.isWhitespace }
        guard let last = start.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return start[...last]
    }

    /// The runs of letters, digits and underscores.
    var words: [Substring] {
        split { !($0.isLetter || $0.isNumber || $0 == "_") }
    }
}
