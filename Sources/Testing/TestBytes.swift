/// Bytes that a test sends or expects: written like text, and shown like text when a test fails.
///
/// Comparable with text, which means its UTF-8, and with arrays of bytes. `+` joins bytes and text.
/// An interpolation `\(bytes)` has the description, with quotes and escapes.
public struct TestBytes: Sendable, Hashable, RandomAccessCollection, RangeReplaceableCollection {
    /// The bytes as an array.
    public private(set) var array: [UInt8]

    /// Creates an empty sequence of bytes.
    public init() { array = [] }

    /// Creates the sequence from other bytes.
    public init(_ bytes: some Sequence<UInt8>) { array = Array(bytes) }

    /// Creates the sequence from the UTF-8 of `text`.
    public init(_ text: String) { array = Array(text.utf8) }

    /// Zero.
    public var startIndex: Int { 0 }
    /// The number of bytes.
    public var endIndex: Int { array.count }

    /// The byte at this place.
    public subscript(index: Int) -> UInt8 {
        get { array[index] }
        set { array[index] = newValue }
    }

    /// Replaces the bytes of a range.
    public mutating func replaceSubrange(
        _ range: Range<Int>, with bytes: some Collection<UInt8>
    ) {
        array.replaceSubrange(range, with: bytes)
    }

    /// The bytes as text. Bytes that are no UTF-8 become U+FFFD.
    public var text: String { String(decoding: array, as: UTF8.self) }

    /// The lines of the text, without their ends (LF or CR LF). A last line without an end counts
    /// too, so that a test sees an incomplete line.
    public var lines: [String] {
        var lines = text.replacing("\r\n", with: "\n")
            .split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        if lines.last == "" { lines.removeLast() }
        return lines
    }

    /// Returns whether these bytes occur in it.
    public func contains(_ other: TestBytes) -> Bool {
        other.isEmpty || array.firstRange(of: other.array) != nil
    }

    public static func == (bytes: TestBytes, text: String) -> Bool {
        bytes.array.elementsEqual(text.utf8)
    }

    public static func == (bytes: TestBytes, array: [UInt8]) -> Bool { bytes.array == array }

    /// Returns whether the bytes are not the UTF-8 of `text`.
    public static func != (bytes: TestBytes, text: String) -> Bool { !(bytes == text) }

    /// Returns whether the bytes are not those of the array.
    public static func != (bytes: TestBytes, array: [UInt8]) -> Bool { !(bytes == array) }
}

extension TestBytes: ExpressibleByStringInterpolation, ExpressibleByArrayLiteral {
    public init(stringLiteral text: String) { self.init(text) }
    /// Creates the sequence from the bytes of an array literal.
    public init(arrayLiteral bytes: UInt8...) { self.init(bytes) }
}

extension TestBytes: CustomStringConvertible, CustomDebugStringConvertible {
    /// The bytes in quotes, with escapes for those that are not printable ASCII. Of more than 1,000
    /// bytes only the first are shown, with the number of all.
    public var description: String { shown(atMost: 1000) }

    public var debugDescription: String { description }

    func shown(atMost limit: Int) -> String {
        let shown = array.prefix(limit).map(Self.escape).joined()
        return array.count > limit ? "\"\(shown)…\" (\(array.count) bytes)" : "\"\(shown)\""
    }

    private static func escape(_ byte: UInt8) -> String {
        switch byte {
        case UInt8(ascii: "\r"): "\\r"
        case UInt8(ascii: "\n"): "\\n"
        case UInt8(ascii: "\t"): "\\t"
        case UInt8(ascii: "\""): "\\\""
        case UInt8(ascii: "\\"): "\\\\"
        case 0x20..<0x7F: String(UnicodeScalar(byte))
        default: "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
    }
}
