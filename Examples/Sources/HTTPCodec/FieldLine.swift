// The form of one field line, in headers and trailers.

enum FieldLine {
    /// Where the colon is; nil if the line is malformed. A line that begins with a blank continues
    /// the one before it in old HTTP, and is malformed since: its name would be empty.
    @inline(__always)
    static func colon(in line: UnsafeRawBufferPointer) -> Int? {
        let colon = ByteSet.token.end(in: line, from: 0, to: line.count)
        guard colon > 0, colon < line.count, line[colon] == Byte.colon else { return nil }
        return areValues(line, from: colon &+ 1) ? colon : nil
    }

    /// Calls `body` with each value of a field that may be on several lines. `list` goes from the
    /// first value to the last, with the lines between, those of other fields too.
    static func forEachValue(
        in list: UnsafeRawBufferPointer, of field: StaticString,
        _ body: (UnsafeRawBufferPointer) -> Void
    ) {
        var (start, isFirst) = (0, true)
        while start <= list.count {
            // No value has a carriage return.
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

    /// Whether all bytes from `start` on may be in a value, sixteen at a time. Those before must be
    /// known to be, since the last sixteen may reach into them.
    @inline(__always)
    private static func areValues(_ line: UnsafeRawBufferPointer, from start: Int) -> Bool {
        guard line.count >= 16 else { return areValues(line, start..<line.count) }
        var index = start
        while index < line.count {
            let place = min(index, line.count &- 16)
            // Two words, as the compiler compares vectors lane by lane.
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

    /// Has the highest bit of each byte below 0x20, and of 0x7F; a tab too, which is allowed but
    /// rare. No sum carries into the next byte, since the highest bits are left out.
    @inline(__always)
    private static func controls(in word: UInt64) -> UInt64 {
        let low = word & 0x7F7F_7F7F_7F7F_7F7F
        let visible = low &+ 0x6060_6060_6060_6060
        let deletes = low &+ 0x0101_0101_0101_0101
        return (~visible | deletes) & ~word
    }
}
