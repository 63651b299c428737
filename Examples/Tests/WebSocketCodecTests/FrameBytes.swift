/// Frames as a client sends them, good and bad. Made without the codec's writer, which refuses to
/// make a bad one.

/// The form of a frame's length.
enum LengthForm {
    case shortest, two, eight
}

enum FrameBytes {
    static let key: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]

    /// Returns a frame. `first` is its first byte: FIN, the reserved bits and the opcode.
    static func frame(
        _ first: UInt8, _ payload: [UInt8] = [], form: LengthForm = .shortest,
        key: [UInt8]? = key
    ) -> [UInt8] {
        var bytes = header(first, UInt64(payload.count), form: form, isMasked: key != nil)
        bytes += key ?? []
        let mask = key ?? [0]
        return bytes + payload.enumerated().map { $1 ^ mask[$0 % mask.count] }
    }

    /// Returns a header without the key. The length may be any number.
    static func header(
        _ first: UInt8, _ length: UInt64, form: LengthForm = .shortest, isMasked: Bool = true
    ) -> [UInt8] {
        let bit: UInt8 = isMasked ? 0x80 : 0
        var form = form
        if form == .shortest, length > 125 { form = length > 65_535 ? .eight : .two }
        return switch form {
        case .shortest: [first, bit | UInt8(length)]
        case .two: [first, bit | 126] + big(length, 2)
        case .eight: [first, bit | 127] + big(length, 8)
        }
    }

    static func big(_ number: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).reversed().map { UInt8(truncatingIfNeeded: number >> (8 * UInt64($0))) }
    }

    static func text(_ text: String) -> [UInt8] { frame(0x81, Array(text.utf8)) }

    /// Returns the text in fragments of `size` bytes, with `between` after each but the last.
    static func fragments(
        _ payload: [UInt8], of size: Int, between: [UInt8] = []
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        for start in stride(from: 0, to: payload.count, by: size) {
            let end = min(start + size, payload.count)
            let first: UInt8 = (start == 0 ? 1 : 0) | (end == payload.count ? 0x80 : 0)
            bytes += frame(first, Array(payload[start..<end]))
            if end < payload.count { bytes += between }
        }
        return bytes
    }

    static func close(_ code: UInt16, _ reason: [UInt8] = []) -> [UInt8] {
        frame(0x88, big(UInt64(code), 2) + reason)
    }
}

/// An input with the events that a server must read from it.
struct FrameRow: Sendable, CustomStringConvertible {
    let name: String
    let bytes: [UInt8]
    let expected: [String]

    init(_ name: String, _ bytes: [UInt8], _ expected: String...) {
        self.init(name, bytes, expected)
    }

    init(_ name: String, _ bytes: [UInt8], _ expected: [String]) {
        self.name = name
        self.bytes = bytes
        self.expected = expected
    }

    var description: String { name }
}
