// Byte constants of HTTP, and comparisons of bytes that allocate no string.
public import Glibc

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
    static let equals: UInt8 = 0x3D
    static let quote: UInt8 = 0x22
    static let backslash: UInt8 = 0x5C
    static let percent: UInt8 = 0x25
    static let dot: UInt8 = 0x2E
    static let openingBracket: UInt8 = 0x5B
    static let closingBracket: UInt8 = 0x5D

    /// Returns whether a field's value may contain the byte: visible characters, space, tab, and
    /// all bytes above ASCII.
    @inline(__always)
    static func isFieldValue(_ byte: UInt8) -> Bool {
        byte >= 0x20 ? byte != 0x7F : byte == tab
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

/// A range of the bytes of a request's head, stored in 8 bytes. Valid for the buffer that was
/// parsed.
public struct Slice: Sendable, Equatable {
    @usableFromInline var start: Int32 = 0
    @usableFromInline var count: Int32 = 0

    init(_ range: Range<Int>) {
        start = Int32(range.lowerBound)
        count = Int32(range.upperBound - range.lowerBound)
    }

    init() {}

    @inlinable public var isEmpty: Bool { count == 0 }

    /// Returns the slice's bytes within `bytes`, the buffer that was parsed.
    @inlinable
    public func of(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        let start = Int(start)
        return UnsafeRawBufferPointer(rebasing: bytes[start..<start + Int(count)])
    }
}

extension UnsafeRawBufferPointer {
    /// Returns whether the bytes equal `text`, ignoring case. `text` has no capital letters.
    ///
    /// The comparison sets bit 5, which also maps control characters to signs and digits. The bytes
    /// must therefore be known to be printable.
    @inline(__always)
    public func equalsIgnoringCase(_ text: StaticString) -> Bool {
        guard count == text.utf8CodeUnitCount else { return false }
        let wanted = text.utf8Start
        for index in 0..<count where self[index] | 0x20 != wanted[index] { return false }
        return true
    }

    /// Returns whether the bytes are exactly `text`.
    @inlinable
    @inline(__always)
    public func equals(_ text: StaticString) -> Bool {
        guard count == text.utf8CodeUnitCount else { return false }
        guard let baseAddress else { return true }
        return memcmp(baseAddress, text.utf8Start, count) == 0
    }

    /// Returns the bytes without spaces and tabs at either end.
    func trimmingBlanks() -> UnsafeRawBufferPointer {
        var (start, end) = (0, count)
        while start < end, Byte.isBlank(self[start]) { start += 1 }
        while end > start, Byte.isBlank(self[end - 1]) { end -= 1 }
        return UnsafeRawBufferPointer(rebasing: self[start..<end])
    }

    /// Calls `body` with each trimmed element of a comma-separated list, until `body` returns
    /// false.
    public func forEachElement(_ body: (UnsafeRawBufferPointer) -> Bool) {
        var start = 0
        for end in 0...count where end == count || self[end] == Byte.comma {
            let element = UnsafeRawBufferPointer(rebasing: self[start..<end]).trimmingBlanks()
            guard body(element) else { return }
            start = end + 1
        }
    }
}
