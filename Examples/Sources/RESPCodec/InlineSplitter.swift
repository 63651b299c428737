/// Splits a line of an inline request like Redis's sdssplitargs. Blanks separate arguments. Double
/// quotes allow escapes, single quotes only \'. A closing quote must be followed by a blank.
struct InlineSplitter {
    let line: UnsafeRawBufferPointer
    private var place = 0

    init(line: UnsafeRawBufferPointer) { self.line = line }

    /// Appends the next argument to `output`; returns false at the line's end.
    mutating func next(into output: inout [UInt8]) throws(ProtocolError) -> Bool {
        while place < line.count, Self.isBlank(line[place]) { place += 1 }
        guard place < line.count else { return false }
        while place < line.count, !Self.isBlank(line[place]) {
            let byte = line[place]
            place += 1
            switch byte {
            case UInt8(ascii: "\""): try takeDoubleQuoted(&output)
            case UInt8(ascii: "'"): try takeSingleQuoted(&output)
            default:
                output.append(byte)
                continue
            }
            return true
        }
        return true
    }

    private mutating func takeDoubleQuoted(_ output: inout [UInt8]) throws(ProtocolError) {
        while place < line.count {
            let byte = line[place]
            place += 1
            if byte == UInt8(ascii: "\"") { return try checkClosed() }
            guard byte == UInt8(ascii: "\\"), place < line.count else {
                output.append(byte)
                continue
            }
            let escaped = line[place]
            place += 1
            if escaped == UInt8(ascii: "x"), place + 1 < line.count,
                let high = Self.hexadecimal(line[place]),
                let low = Self.hexadecimal(line[place + 1])
            {
                output.append(high << 4 | low)
                place += 2
            } else {
                output.append(Self.meaning(of: escaped))
            }
        }
        throw .unbalancedQuotes
    }

    private mutating func takeSingleQuoted(_ output: inout [UInt8]) throws(ProtocolError) {
        let quote = UInt8(ascii: "'")
        while place < line.count {
            let byte = line[place]
            place += 1
            if byte == quote { return try checkClosed() }
            if byte == UInt8(ascii: "\\"), place < line.count, line[place] == quote {
                output.append(quote)
                place += 1
            } else {
                output.append(byte)
            }
        }
        throw .unbalancedQuotes
    }

    private func checkClosed() throws(ProtocolError) {
        guard place == line.count || Self.isBlank(line[place]) else { throw .unbalancedQuotes }
    }

    /// Returns the result of isspace(3) in the C locale.
    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || 0x09...0x0D ~= byte }

    private static func meaning(of escaped: UInt8) -> UInt8 {
        switch escaped {
        case UInt8(ascii: "n"): 0x0A
        case UInt8(ascii: "r"): 0x0D
        case UInt8(ascii: "t"): 0x09
        case UInt8(ascii: "b"): 0x08
        case UInt8(ascii: "a"): 0x07
        default: escaped
        }
    }

    private static func hexadecimal(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
