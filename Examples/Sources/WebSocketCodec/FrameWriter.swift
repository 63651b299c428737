// Writes frames. One array may be sent to many connections, because a server masks nothing.

public enum FrameWriter {
    /// Returns a whole frame. `maskingKey` is for clients, with the first byte lowest. The payload
    /// of a control frame has at most 125 bytes.
    public static func frame(
        _ opcode: Opcode, _ payload: some Collection<UInt8>, isFinal: Bool = true,
        maskingKey: UInt32? = nil
    ) -> [UInt8] {
        let length = payload.count
        precondition(
            !opcode.isControl || length <= FrameHeader.longestControl,
            "a control frame of \(length) bytes")
        var frame: [UInt8] = []
        // A header has at most 14 bytes.
        frame.reserveCapacity(length + 14)
        frame.append(opcode.rawValue | (isFinal ? 0x80 : 0))
        let masked: UInt8 = maskingKey == nil ? 0 : 0x80
        switch length {
        case ..<126: frame.append(UInt8(length) | masked)
        case ...Int(UInt16.max):
            frame.append(126 | masked)
            append(UInt16(length), to: &frame)
        default:
            frame.append(127 | masked)
            append(UInt64(length), to: &frame)
        }
        if let maskingKey { append(maskingKey.byteSwapped, to: &frame) }
        let start = frame.count
        frame.append(contentsOf: payload)
        if let maskingKey {
            var mask = Mask(maskingKey)
            frame.withUnsafeMutableBytes {
                mask.remove(from: UnsafeMutableRawBufferPointer(rebasing: $0[start...]))
            }
        }
        return frame
    }

    /// Returns a close frame. The reason is for people and has at most 123 bytes.
    public static func close(
        _ code: CloseCode?, _ reason: String = "", maskingKey: UInt32? = nil
    ) -> [UInt8] {
        var payload: [UInt8] = []
        if let code {
            append(code.rawValue, to: &payload)
            payload += Array(reason.utf8)
        }
        return frame(.close, payload, maskingKey: maskingKey)
    }

    private static func append(_ number: some FixedWidthInteger, to frame: inout [UInt8]) {
        withUnsafeBytes(of: number.bigEndian) { frame.append(contentsOf: $0) }
    }
}
