// Which bytes may stand where in HTTP, and how far a text goes on with such.

/// A set of ASCII bytes as two words, so that a look-up touches no memory. Has all letters, and the
/// row of signs and digits from `-` to `last`, but for `hole`.
struct ByteSet {
    let low: UInt64
    let high: UInt64
    let last: UInt8
    let hole: UInt8

    /// `tchar` of RFC 9110, 5.6.2.
    static let token = ByteSet(
        low: 0x03FF_6CFA_0000_0000, high: 0x57FF_FFFF_C7FF_FFFE, last: 0x39, hole: Byte.slash)
    /// What RFC 3986 allows in a path and a query.
    static let target = ByteSet(
        low: 0xAFFF_FFF2_0000_0000, high: 0x47FF_FFFE_AFFF_FFFF, last: 0x3B, hole: 0)
    /// Without the question mark, which begins a query.
    static let path = ByteSet(
        low: 0x2FFF_FFF2_0000_0000, high: 0x47FF_FFFE_AFFF_FFFF, last: 0x3B, hole: 0)
    /// A host's name, but for what stands behind percent signs: no colon, no bracket, no user
    /// before an `@`.
    static let name = ByteSet(
        low: 0x2BFF_7FD2_0000_0000, high: 0x47FF_FFFE_87FF_FFFE, last: 0x39, hole: Byte.slash)

    @inline(__always)
    func contains(_ byte: UInt8) -> Bool {
        let word = byte < 64 ? low : high
        return byte < 128 && (word &>> UInt64(byte & 63)) & 1 == 1
    }

    /// The first place from `start` on, and before `end`, of a byte that is not in the set; else
    /// `end`. Eight at a time where they are letters or in the row.
    @inline(__always)
    func end(in bytes: UnsafeRawBufferPointer, from start: Int, to end: Int) -> Int {
        var index = start
        while end >= 8, index < end {
            // The last eight, without those that were looked at; zeros follow, which end the text.
            let place = min(index, end &- 8)
            let word = bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self)
            let others = rarities(in: word &>> (UInt64(truncatingIfNeeded: index &- place) &* 8))
            index &+= others.trailingZeroBitCount &>> 3
            if others == 0 { continue }
            guard index < end, contains(bytes[index]) else { return index }
            index &+= 1
        }
        while index < end, contains(bytes[index]) { index &+= 1 }
        return index
    }

    /// The highest bit of each byte that is neither a letter nor in the row. No sum carries into
    /// the next byte, since the highest bits are left out and come back at the end.
    @inline(__always)
    private func rarities(in word: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highest = 0x80 &* ones
        let exact = word & ~highest
        let small = exact | 0x20 &* ones
        // Each sum has the highest bit where a byte is at least `a`, above `z`, at least `-` and so
        // on; the last one where it is not the hole.
        let letters = (small &+ (0x80 - 0x61) &* ones) & ~(small &+ (0x7F - 0x7A) &* ones)
        let row = (exact &+ (0x80 - 0x2D) &* ones) & ~(exact &+ (0x7F - UInt64(last)) &* ones)
        let holds = (exact ^ UInt64(hole) &* ones) &+ 0x7F &* ones
        return (~(letters | row & holds) | word) & highest
    }
}
