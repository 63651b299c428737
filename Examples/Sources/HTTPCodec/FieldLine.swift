// The syntax of one field line, in headers and trailers.

enum FieldLine {
    /// Returns the index of the colon; nil if the line is malformed. In old HTTP, a line that
    /// begins with a blank continued the line before it. Such a line is now malformed, since its
    /// name is empty.
    @inline(__always)
    static func colon(in line: UnsafeRawBufferPointer) -> Int? {
        let colon = ByteSet.token.end(in: line, from: 0, to: line.count)
        guard colon > 0, colon < line.count, line[colon] == Byte.colon else { return nil }
        return areValues(line, from: colon &+ 1) ? colon : nil
    }

    /// Calls `body` with each value of a field that may be on several lines. `list` extends from
    /// the first value to the last and includes the lines between, also those of other fields.
    static func forEachValue(
        in list: UnsafeRawBufferPointer, of field: StaticString,
        _ body: (UnsafeRawBufferPointer) -> Void
    ) {
        var (start, isFirst) = (0, true)
        while start <= list.count {
            // A value contains no carriage return.
            let end = list[start...].firstIndex(of: Byte.carriageReturn) ?? list.count
            let line = UnsafeRawBufferPointer(rebasing: list[start..<end])
            start = end + 2
            if isFirst {
                isFirst = false
                body(line.trimmingBlanks())
            } else if let colon = line.firstIndex(of: Byte.colon),
                UnsafeRawBufferPointer(rebasing: line[..<colon]).equalsIgnoringCase(field)
            {
                body(UnsafeRawBufferPointer(rebasing: line[(colon + 1)...]).trimmingBlanks())
            }
        }
    }

    /// Returns whether a value may contain all bytes from `start` on, checked sixteen at a time.
    /// The last sixteen may begin before `start`, so the bytes there must be valid as well.
    @inline(__always)
    private static func areValues(_ line: UnsafeRawBufferPointer, from start: Int) -> Bool {
        guard line.count >= 16 else { return areValues(line, start..<line.count) }
        var index = start
        while index < line.count {
            let place = min(index, line.count &- 16)
            // Two words, because the compiler compares the lanes of a vector one by one.
            let first = line.loadUnaligned(fromByteOffset: place, as: UInt64.self)
            let second = line.loadUnaligned(fromByteOffset: place &+ 8, as: UInt64.self)
            if (controls(in: first) | controls(in: second)) & 0x8080_8080_8080_8080 != 0,
                !areValues(line, place..<place &+ 16)
            {
                return false
            }
            index = place &+ 16
        }
        return true
    }

    @inline(never)
    private static func areValues(_ line: UnsafeRawBufferPointer, _ places: Range<Int>) -> Bool {
        for place in places where !Byte.isFieldValue(line[place]) { return false }
        return true
    }

    /// Returns a word with the highest bit set in each byte below 0x20 and in 0x7F. The tab is
    /// included: it is allowed but rare. The sums leave out the highest bits, so no sum carries
    /// into the next byte.
    @inline(__always)
    private static func controls(in word: UInt64) -> UInt64 {
        let low = word & 0x7F7F_7F7F_7F7F_7F7F
        let visible = low &+ 0x6060_6060_6060_6060
        let deletes = low &+ 0x0101_0101_0101_0101
        return (~visible | deletes) & ~word
    }
}
