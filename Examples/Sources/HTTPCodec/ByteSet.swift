// Sets of bytes that the grammar of HTTP allows, and a search for the first byte outside a set.

/// A set of ASCII bytes in two words, so that a look-up reads no memory. Each set contains all
/// letters and all bytes from `-` to `last` except `hole`, on which `end(in:from:to:)` relies.
struct ByteSet {
    let low: UInt64
    let high: UInt64
    let last: UInt8
    let hole: UInt8

    /// `tchar` of RFC 9110, 5.6.2.
    static let token = ByteSet(
        low: 0x03FF_6CFA_0000_0000, high: 0x57FF_FFFF_C7FF_FFFE, last: 0x39, hole: Byte.slash)
    /// The bytes that RFC 3986 allows in a path and a query.
    static let target = ByteSet(
        low: 0xAFFF_FFF2_0000_0000, high: 0x47FF_FFFE_AFFF_FFFF, last: 0x3B, hole: 0)
    /// Like `target`, but without the question mark, which begins a query.
    static let path = ByteSet(
        low: 0x2FFF_FFF2_0000_0000, high: 0x47FF_FFFE_AFFF_FFFF, last: 0x3B, hole: 0)
    /// The bytes of a host name outside percent escapes. They include no colon, no bracket, and no
    /// `@`, which would end a user name.
    static let name = ByteSet(
        low: 0x2BFF_7FD2_0000_0000, high: 0x47FF_FFFE_87FF_FFFE, last: 0x39, hole: Byte.slash)

    @inline(__always)
    func contains(_ byte: UInt8) -> Bool {
        let word = byte < 64 ? low : high
        return byte < 128 && (word &>> UInt64(byte & 63)) & 1 == 1
    }

    /// Returns the first index in `start..<end` whose byte is not in the set, or `end`. Checks
    /// eight bytes at a time as long as they are letters or between `-` and `last`.
    @inline(__always)
    func end(in bytes: UnsafeRawBufferPointer, from start: Int, to end: Int) -> Int {
        var index = start
        while end >= 8, index < end {
            // Near the end, the load covers the last eight bytes, and the shift removes those
            // already checked. The zeros that it brings in are outside the set and end the search.
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

    /// Returns a word with the highest bit set in each byte that is neither a letter nor between
    /// `-` and `last`. The sums leave out the highest bits, so no sum carries into the next byte.
    @inline(__always)
    private func rarities(in word: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highest = 0x80 &* ones
        let exact = word & ~highest
        let small = exact | 0x20 &* ones
        // Each sum has the highest bit set where a byte is at least `a`, above `z`, at least `-`
        // and so on. In the last sum, the bit means that the byte is not the hole.
        let letters = (small &+ (0x80 - 0x61) &* ones) & ~(small &+ (0x7F - 0x7A) &* ones)
        let row = (exact &+ (0x80 - 0x2D) &* ones) & ~(exact &+ (0x7F - UInt64(last)) &* ones)
        let holds = (exact ^ UInt64(hole) &* ones) &+ 0x7F &* ones
        return (~(letters | row & holds) | word) & highest
    }
}
