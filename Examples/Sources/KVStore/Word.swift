/// A short word as integers, the same for small and capital letters, so that a comparison needs no
/// loop.
struct Word: Equatable, Sendable {
    static let longest = 16

    private let first: UInt64
    private let second: UInt64
    private let count: Int

    /// Creates a word; nil for no bytes and for more than `longest`. A word of letters equals no
    /// other word of letters. A word with other bytes may equal another word.
    @inline(__always)
    init?(_ bytes: UnsafeRawBufferPointer) {
        let end = bytes.count
        guard 1...Self.longest ~= end else { return nil }
        count = end
        // The mask removes the bit that distinguishes small letters from capitals. The loads
        // overlap, which does not affect a comparison of words of the same length.
        if end >= 8 {
            first = bytes.loadUnaligned(as: UInt64.self) & Self.mask
            second = bytes.loadUnaligned(fromByteOffset: end - 8, as: UInt64.self) & Self.mask
        } else if end >= 4 {
            let low = UInt64(bytes.loadUnaligned(as: UInt32.self))
            let high = UInt64(bytes.loadUnaligned(fromByteOffset: end - 4, as: UInt32.self))
            first = (low | high << 32) & Self.mask
            second = 0
        } else {
            let (low, middle, high) = (bytes[0], bytes[end >> 1], bytes[end - 1])
            first = (UInt64(low) | UInt64(middle) << 8 | UInt64(high) << 16) & Self.mask
            second = 0
        }
    }

    private static let mask: UInt64 = 0xDFDF_DFDF_DFDF_DFDF

    /// The number of values of `place`: a power of two, some ten times the number of the commands.
    static let places = 512

    /// The index at which a table of words begins to search.
    var place: Int {
        let mixed =
            (first ^ second &+ UInt64(truncatingIfNeeded: count))
            &* 0x9E37_79B9_7F4A_7C15
        return Int(truncatingIfNeeded: mixed >> 55)
    }
}
