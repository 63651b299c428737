// The mask of a client's payload (RFC 6455, 5.3): an XOR with four bytes, repeated.

struct Mask: Sendable {
    /// The bytes for the next payload byte and the three after it, the first one lowest.
    private var key: UInt32

    init(_ key: UInt32) { self.key = key }

    /// Removes the mask from the next bytes of the payload, in place.
    mutating func remove(from bytes: UnsafeMutableRawBufferPointer) {
        // A key of 0 changes nothing.
        guard key != 0 else { return }
        let word = (UInt64(key) | UInt64(key) << 32).littleEndian
        var index = 0
        while index &+ 8 <= bytes.count {
            let masked = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            bytes.storeBytes(of: masked ^ word, toByteOffset: index, as: UInt64.self)
            index &+= 8
        }
        // A whole word leaves the place within the key as it was.
        while index < bytes.count {
            bytes[index] ^= UInt8(truncatingIfNeeded: key)
            key = key >> 8 | key << 24
            index &+= 1
        }
    }
}
