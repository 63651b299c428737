// Extensions after the size of a chunk: names with optional values (RFC 9112, 7.1.1). Clients do
// not use them, but two servers that find different ends of an extension find different chunks.

enum ChunkExtension {
    /// Returns whether the bytes from `start` to the end of the line are extensions, or empty.
    static func areValid(_ line: UnsafeRawBufferPointer, from start: Int) -> Bool {
        var index = start
        while index < line.count {
            index = skipBlanks(line, index)
            // The grammar has no blanks without an extension.
            guard index < line.count, line[index] == Byte.semicolon else { return false }
            index = skipBlanks(line, index + 1)
            guard let nameEnd = tokenEnd(line, index) else { return false }
            index = nameEnd
            let sign = skipBlanks(line, index)
            guard sign < line.count, line[sign] == Byte.equals else { continue }
            index = skipBlanks(line, sign + 1)
            guard index < line.count,
                let valueEnd = line[index] == Byte.quote
                    ? quotedEnd(line, index) : tokenEnd(line, index)
            else { return false }
            index = valueEnd
        }
        return true
    }

    private static func skipBlanks(_ line: UnsafeRawBufferPointer, _ start: Int) -> Int {
        var index = start
        while index < line.count, Byte.isBlank(line[index]) { index += 1 }
        return index
    }

    /// Returns the index after the token at `start`; nil if the token is empty.
    private static func tokenEnd(_ line: UnsafeRawBufferPointer, _ start: Int) -> Int? {
        let end = ByteSet.token.end(in: line, from: start, to: line.count)
        return end > start ? end : nil
    }

    /// Returns the index after the closing quote of the string that opens at `start`. Returns nil
    /// if the string is not closed or contains a byte that is not allowed.
    private static func quotedEnd(_ line: UnsafeRawBufferPointer, _ start: Int) -> Int? {
        var index = start + 1
        while index < line.count {
            let byte = line[index]
            if byte == Byte.quote { return index + 1 }
            // A backslash escapes the next byte, even a quote.
            index += byte == Byte.backslash ? 2 : 1
            guard Byte.isFieldValue(byte), index <= line.count,
                Byte.isFieldValue(line[index - 1])
            else { return nil }
        }
        return nil
    }
}
