// Which bytes may stand where in HTTP, and comparing them without making strings.
import Glibc

/// A set of ASCII bytes as two words, so that a look-up touches no memory.
struct ByteSet {
    let low: UInt64
    let high: UInt64

    /// `tchar` of RFC 9110, 5.6.2.
    static let token = ByteSet(low: 0x03FF_6CFA_0000_0000, high: 0x57FF_FFFF_C7FF_FFFE)
    /// What RFC 3986 allows in a path and a query.
    static let target = ByteSet(low: 0xAFFF_FFF2_0000_0000, high: 0x47FF_FFFE_AFFF_FFFF)
    /// A host and a port: no slash, no question mark, no user before an `@`.
    static let host = ByteSet(low: 0x2FFF_7FF2_0000_0000, high: 0x47FF_FFFE_AFFF_FFFE)

    @inline(__always)
    func contains(_ byte: UInt8) -> Bool {
        let word = byte < 64 ? low : high
        return byte < 128 && (word &>> UInt64(byte & 63)) & 1 == 1
    }
}

enum Byte {
    static let tab: UInt8 = 0x09
    static let lineFeed: UInt8 = 0x0A
    static let carriageReturn: UInt8 = 0x0D
    static let space: UInt8 = 0x20
    static let comma: UInt8 = 0x2C
    static let slash: UInt8 = 0x2F
    static let colon: UInt8 = 0x3A
    static let questionMark: UInt8 = 0x3F
    static let semicolon: UInt8 = 0x3B

    /// Field values: visible, space, tab, and what is beyond ASCII.
    @inline(__always)
    static func isFieldValue(_ byte: UInt8) -> Bool {
        byte >= 0x20 ? byte != 0x7F : byte == tab
    }

    /// Whether all of `bytes` from `start` on are such, eight at a time. Those before must be known
    /// to be, since the last eight may reach into them.
    @inline(__always)
    static func areFieldValues(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Bool {
        guard bytes.count >= 8 else { return areFieldValues(bytes, start..<bytes.count) }
        var index = start
        while index < bytes.count {
            let place = min(index, bytes.count &- 8)
            let word = bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self)
            if hasControl(word), !areFieldValues(bytes, place..<place &+ 8) { return false }
            index = place &+ 8
        }
        return true
    }

    private static func areFieldValues(
        _ bytes: UnsafeRawBufferPointer, _ places: Range<Int>
    ) -> Bool {
        for place in places where !isFieldValue(bytes[place]) { return false }
        return true
    }

    /// Whether one of these eight bytes is below 0x20, or 0x7F. A borrow may also set the highest
    /// bit of the byte after such a one, but of none otherwise.
    @inline(__always)
    private static func hasControl(_ word: UInt64) -> Bool {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let deletes = word ^ (0x7F &* ones)
        let low = (word &- 0x20 &* ones) & ~word
        return (low | (deletes &- ones) & ~deletes) & (0x80 &* ones) != 0
    }

    @inline(__always)
    static func isBlank(_ byte: UInt8) -> Bool { byte == space || byte == tab }

    static func digit(_ byte: UInt8) -> Int? {
        byte >= 0x30 && byte <= 0x39 ? Int(byte) - 0x30 : nil
    }

    static func hexDigit(_ byte: UInt8) -> Int? {
        if let digit = digit(byte) { return digit }
        let lower = byte | 0x20
        return lower >= 0x61 && lower <= 0x66 ? Int(lower) - 0x61 + 10 : nil
    }
}

/// A part of the bytes of a request's head, in 8 bytes. Valid for the buffer that was parsed.
public struct Slice: Sendable, Equatable {
    var start: Int32 = 0
    var count: Int32 = 0

    init(_ range: Range<Int>) {
        start = Int32(range.lowerBound)
        count = Int32(range.count)
    }

    init() {}

    public var isEmpty: Bool { count == 0 }

    /// The bytes themselves, out of those that the parser was given.
    public func of(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        let start = Int(start)
        return UnsafeRawBufferPointer(rebasing: bytes[start..<start + Int(count)])
    }
}

extension UnsafeRawBufferPointer {
    /// Whether these bytes are `text`, which has no capitals; theirs count as small.
    ///
    /// Setting bit 5 also joins control characters with signs and digits: only for bytes that were
    /// checked to be printable.
    func equalsIgnoringCase(_ text: StaticString) -> Bool {
        guard count == text.utf8CodeUnitCount else { return false }
        let wanted = text.utf8Start
        for index in 0..<count where self[index] | 0x20 != wanted[index] { return false }
        return true
    }

    /// Whether these bytes are exactly `text`.
    @inline(__always)
    public func equals(_ text: StaticString) -> Bool {
        guard count == text.utf8CodeUnitCount else { return false }
        guard let baseAddress else { return true }
        return memcmp(baseAddress, text.utf8Start, count) == 0
    }

    /// Without spaces and tabs at either end.
    func trimmingBlanks() -> UnsafeRawBufferPointer {
        var (start, end) = (0, count)
        while start < end, Byte.isBlank(self[start]) { start += 1 }
        while end > start, Byte.isBlank(self[end - 1]) { end -= 1 }
        return UnsafeRawBufferPointer(rebasing: self[start..<end])
    }

    /// Calls `body` with each element of a comma-separated list, trimmed, until it returns false.
    func forEachElement(_ body: (UnsafeRawBufferPointer) -> Bool) {
        var start = 0
        for end in 0...count where end == count || self[end] == Byte.comma {
            let element = UnsafeRawBufferPointer(rebasing: self[start..<end]).trimmingBlanks()
            guard body(element) else { return }
            start = end + 1
        }
    }
}
