// Incremental validation of UTF-8. A character may be cut anywhere, also between two fragments of a
// message. An invalid byte is found when it arrives, not at the end of the message.

struct TextValidator: Sendable {
    /// The number of bytes that the current character still needs.
    private var missing = 0
    /// The range of the next byte, if one is missing. For the second byte of a character it is
    /// narrower than for others: it excludes overlong forms, surrogates, and numbers above
    /// U+10FFFF.
    private var lowest: UInt8 = 0x80
    private var highest: UInt8 = 0xBF

    /// Whether the text so far does not end within a character.
    var isComplete: Bool { missing == 0 }

    /// Checks the next bytes. Returns false at an invalid byte; the validator is useless then.
    mutating func accept(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        while index < bytes.count {
            if missing > 0 {
                guard bytes[index] >= lowest, bytes[index] <= highest else { return false }
                missing &-= 1
                (lowest, highest) = (0x80, 0xBF)
                index &+= 1
                continue
            }
            while index &+ 8 <= bytes.count {
                let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                guard word & 0x8080_8080_8080_8080 == 0 else { break }
                index &+= 8
            }
            guard index < bytes.count else { break }
            guard begin(bytes[index]) else { return false }
            index &+= 1
        }
        return true
    }

    /// Begins a character. Returns false if no character begins with this byte.
    private mutating func begin(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x00...0x7F: break
        case 0xC2...0xDF: missing = 1
        case 0xE0: (missing, lowest) = (2, 0xA0)
        case 0xED: (missing, highest) = (2, 0x9F)
        case 0xE1...0xEF: missing = 2
        case 0xF0: (missing, lowest) = (3, 0x90)
        case 0xF4: (missing, highest) = (3, 0x8F)
        case 0xF1...0xF3: missing = 3
        default: return false
        }
        return true
    }
}
