// Finds lines in bytes that come in pieces of any size. What it answers does not depend on how
// they were cut, and no byte is looked at twice.
import Glibc

struct LineScanner {
    enum Found {
        /// Without its CR LF.
        case line(Range<Int>)
        case partial
        case tooLong
        /// A line feed without a carriage return before it: two servers in a row may disagree on
        /// where such a line ends.
        case bareLineFeed
    }

    /// Where the current line begins.
    private(set) var start = 0
    private var scanned = 0

    /// After a line the scanner stands at the next one. `bytes` must begin where they began before.
    @inline(__always)
    mutating func next(in bytes: UnsafeRawBufferPointer, limit: Int) -> Found {
        guard scanned < bytes.count, let base = bytes.baseAddress else { return .partial }
        let unseen = bytes.count &- scanned
        guard let found = memchr(base + scanned, CInt(Byte.lineFeed), unseen) else {
            scanned = bytes.count
            // The last byte may be the CR.
            return bytes.count - start > limit + 1 ? .tooLong : .partial
        }
        let end = UnsafeRawPointer(found) - base
        let hasReturn = end > start && bytes[end &- 1] == Byte.carriageReturn
        let line = start..<(hasReturn ? end &- 1 : end)
        if line.upperBound &- line.lowerBound > limit { return .tooLong }
        guard hasReturn else { return .bareLineFeed }
        start = end &+ 1
        scanned = start
        return .line(line)
    }
}
