// The header of a frame (RFC 6455, 5.2). Every rule that the header alone decides is checked here,
// before a byte of the payload is looked at.

public enum Opcode: UInt8, Sendable {
    case continuation = 0
    case text = 1
    case binary = 2
    case close = 8
    case ping = 9
    case pong = 10

    public var isControl: Bool { rawValue & 8 != 0 }
}

/// The endpoint that sent a frame. Clients mask each payload, and servers mask none.
public enum Sender: Sendable {
    case client
    case server
}

public struct FrameHeader: Sendable, Equatable {
    public let opcode: Opcode
    public let isFinal: Bool
    /// The length of the payload, in bytes.
    public let length: Int
    /// The masking key in the order of its bytes, the first one lowest; 0 without a mask. A client
    /// may choose 0 as well.
    public let maskingKey: UInt32

    /// The longest payload of a control frame, in bytes.
    public static let longestControl = 125

    enum Progress: Equatable {
        case needsMore
        /// The header has this many bytes.
        case complete(FrameHeader, count: Int)
        /// A protocol error; nothing after it can be read.
        case refused
    }

    /// Parses the header at the start of `bytes`. A header that breaks a rule is refused at the
    /// first byte that shows it.
    static func parse(_ bytes: UnsafeRawBufferPointer, from sender: Sender) -> Progress {
        guard let first = bytes.first else { return .needsMore }
        // The three reserved bits belong to extensions, and this server agrees to none.
        guard first & 0x70 == 0, let opcode = Opcode(rawValue: first & 0x0F) else {
            return .refused
        }
        let isFinal = first & 0x80 != 0
        guard isFinal || !opcode.isControl else { return .refused }
        guard bytes.count >= 2 else { return .needsMore }
        let isMasked = bytes[1] & 0x80 != 0
        guard isMasked == (sender == .client) else { return .refused }
        let short = Int(bytes[1] & 0x7F)
        guard short <= longestControl || !opcode.isControl else { return .refused }
        let lengthSize = short == 126 ? 2 : short == 127 ? 8 : 0
        let count = 2 + lengthSize + (isMasked ? 4 : 0)
        guard bytes.count >= 2 + lengthSize else { return .needsMore }
        guard let length = length(bytes, short) else { return .refused }
        guard bytes.count >= count else { return .needsMore }
        var key: UInt32 = 0
        if isMasked {
            key = UInt32(
                littleEndian: bytes.loadUnaligned(fromByteOffset: count - 4, as: UInt32.self))
        }
        let header = FrameHeader(
            opcode: opcode, isFinal: isFinal, length: length, maskingKey: key)
        return .complete(header, count: count)
    }

    /// Returns the length; nil if a shorter form of it exists, or if its highest bit is set. Two
    /// parsers could disagree on such a length.
    private static func length(_ bytes: UnsafeRawBufferPointer, _ short: Int) -> Int? {
        switch short {
        case 126:
            let length = bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self).bigEndian
            return length < 126 ? nil : Int(length)
        case 127:
            let length = bytes.loadUnaligned(fromByteOffset: 2, as: UInt64.self).bigEndian
            return length <= UInt16.max ? nil : Int(exactly: length)
        default: return short
        }
    }
}
