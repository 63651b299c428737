/// A short word as numbers, with small and capital letters alike: compared without a loop.
struct Word: Equatable, Sendable {
    static let longest = 16

    private let first: UInt64
    private let second: UInt64
    private let count: Int

    /// Of bytes that are all letters, nobody else's; of others perhaps. Nil for none, and for more
    /// than `longest`.
    @inline(__always)
    init?(_ bytes: UnsafeRawBufferPointer) {
        let end = bytes.count
        guard 1...Self.longest ~= end else { return nil }
        count = end
        // Without the bit that tells small letters from capitals. Loads overlap, which does no
        // harm to a comparison of words of the same length.
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

    /// Numbers that `place` may be: a power of two, some ten times the count of the commands.
    static let places = 512

    /// Where a table of words looks first.
    var place: Int {
        let mixed =
            (first ^ second &+ UInt64(truncatingIfNeeded: count))
            &* 0x9E37_79B9_7F4A_7C15
        return Int(truncatingIfNeeded: mixed >> 55)
    }
}
