// Finds lines in bytes that arrive in pieces of any size. The result does not depend on where the
// pieces are cut, and no byte is examined twice.
import Glibc

struct LineScanner {
    enum Found {
        /// The line's range without its CR LF.
        case line(Range<Int>)
        case partial
        case tooLong
        /// A line feed without a carriage return before it. Two servers in a row may disagree on
        /// the end of such a line.
        case bareLineFeed
    }

    /// The index at which the current line begins.
    private(set) var start = 0
    private var scanned = 0

    /// Finds the next line and moves past it. `bytes` must begin at the same byte in every call.
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
