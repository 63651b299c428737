// What may follow the size of a chunk: names, perhaps with values. Nobody uses them, but where two
// readers find different ends of one, they find different chunks (RFC 9112, 7.1.1).

enum ChunkExtension {
    /// Whether the bytes from `start` to the end of the line are extensions, or nothing.
    static func areValid(_ line: UnsafeRawBufferPointer, from start: Int) -> Bool {
        var index = start
        while index < line.count {
            index = skipBlanks(line, index)
            // Blanks alone are none that the grammar has.
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

    /// Nil for an empty one.
    private static func tokenEnd(_ line: UnsafeRawBufferPointer, _ start: Int) -> Int? {
        let end = ByteSet.token.end(in: line, from: start, to: line.count)
        return end > start ? end : nil
    }

    /// Behind the closing quote of what is opened at `start`; nil if it stays open or holds what
    /// may not be there.
    private static func quotedEnd(_ line: UnsafeRawBufferPointer, _ start: Int) -> Int? {
        var index = start + 1
        while index < line.count {
            let byte = line[index]
            if byte == Byte.quote { return index + 1 }
            // A backslash takes the next one along, whatever it is.
            index += byte == Byte.backslash ? 2 : 1
            guard Byte.isFieldValue(byte), index <= line.count,
                Byte.isFieldValue(line[index - 1])
            else { return nil }
        }
        return nil
    }
}
