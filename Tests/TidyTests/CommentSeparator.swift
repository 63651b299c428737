/// Separates code, comments and strings of a Swift or C file, as far as the rules need it.
///
/// Handles nested comments, raw strings, multi-line strings and interpolations. Does not handle
/// Swift's regex literals: a quote inside one is read as the start of a string.
struct CommentSeparator {
    private let bytes: [UInt8]
    private let language: Language
    private var at = 0
    /// The same length as the text, with the same line breaks.
    private(set) var code: [UInt8]
    private(set) var comments: [UInt8]

    init(_ text: String, _ language: Language) {
        bytes = Array(text.utf8)
        self.language = language
        let newline = UInt8(ascii: "\n")
        let blank = bytes.map { $0 == newline ? newline : UInt8(ascii: " ") }
        code = blank
        comments = blank
    }

    mutating func run() {
        while at < bytes.count {
            if isAt("//") {
                lineComment()
            } else if isAt("/*") {
                blockComment()
            } else if let hashes = openingQuote() {
                string(hashes)
            } else if language == .c && isAt("'") {
                character()
            } else {
                code[at] = bytes[at]
                at += 1
            }
        }
    }

    private func isAt(_ text: StaticString, after skipped: Int = 0) -> Bool {
        let start = at + skipped
        guard start + text.utf8CodeUnitCount <= bytes.count else { return false }
        return text.withUTF8Buffer { bytes[start..<start + $0.count].elementsEqual($0) }
    }

    private mutating func comment(_ count: Int) {
        for _ in 0..<count where at < bytes.count {
            comments[at] = bytes[at]
            at += 1
        }
    }

    private mutating func lineComment() {
        while at < bytes.count && !isAt("\n") { comment(1) }
    }

    private mutating func blockComment() {
        var depth = 0
        repeat {
            if isAt("*/") {
                depth -= 1
                comment(2)
            } else if isAt("/*") && (depth == 0 || language == .swift) {
                depth += 1
                comment(2)
            } else {
                comment(1)
            }
        } while depth > 0 && at < bytes.count
    }

    /// The number of `#` before a quote that opens a string here; nil if no string opens here.
    private func openingQuote() -> Int? {
        var hashes = 0
        while language == .swift && isAt("#", after: hashes) { hashes += 1 }
        return isAt("\"", after: hashes) ? hashes : nil
    }

    private func areHashes(_ count: Int, after skipped: Int) -> Bool {
        (0..<count).allSatisfy { isAt("#", after: skipped + $0) }
    }

    private mutating func string(_ hashes: Int) {
        at += hashes
        let isLong = language == .swift && isAt("\"\"\"")
        let quotes = isLong ? 3 : 1
        at += quotes
        while at < bytes.count {
            let isQuote = isLong ? isAt("\"\"\"") : isAt("\"")
            if isQuote && areHashes(hashes, after: quotes) {
                at += quotes + hashes
                return
            } else if isAt("\\") && areHashes(hashes, after: 1) {
                at += 1 + hashes
                if language == .swift && isAt("(") { interpolation() } else { at += 1 }
            } else if isAt("\n") && !isLong {
                return
            } else {
                at += 1
            }
        }
    }

    /// The code in an interpolation is blank too: it holds neither a declaration nor an import.
    private mutating func interpolation() {
        var depth = 0
        repeat {
            if let hashes = openingQuote() {
                string(hashes)
                continue
            }
            if isAt("(") { depth += 1 }
            if isAt(")") { depth -= 1 }
            at += 1
        } while depth > 0 && at < bytes.count
    }

    private mutating func character() {
        at += isAt("\\", after: 1) ? 3 : 2
        while at < bytes.count && !isAt("'") && !isAt("\n") { at += 1 }
        if isAt("'") { at += 1 }
    }
}
