// Header fields: their form, and the few that this server acts on.

extension RequestParser {
    @inline(__always)
    mutating func takeField(_ line: UnsafeRawBufferPointer, at offset: Int) -> Status? {
        guard let colon = FieldLine.colon(in: line) else { return .badRequest }
        let name = UnsafeRawBufferPointer(rebasing: line[..<colon])
        // The length decides for most fields that neither name nor value need be looked at.
        switch colon {
        case 4 where name.equalsIgnoringCase("host"): return takeHost(line, colon)
        case 5 where name.equalsIgnoringCase("range"):
            Self.add(line, colon, offset, to: &head.range)
        case 6 where name.equalsIgnoringCase("expect"): return takeExpect(Self.text(line, colon))
        case 8 where name.equalsIgnoringCase("if-range"):
            Self.add(line, colon, offset, to: &head.ifRange)
        case 8 where name.equalsIgnoringCase("if-match"):
            Self.add(line, colon, offset, to: &head.ifMatch)
        case 10 where name.equalsIgnoringCase("connection"): takeConnection(Self.text(line, colon))
        case 13 where name.equalsIgnoringCase("if-none-match"):
            Self.add(line, colon, offset, to: &head.ifNoneMatch)
        case 14 where name.equalsIgnoringCase("content-length"):
            return takeLength(Self.text(line, colon))
        case 17 where name.equalsIgnoringCase("if-modified-since"):
            Self.add(line, colon, offset, to: &head.ifModifiedSince)
        case 17 where name.equalsIgnoringCase("transfer-encoding"):
            return takeEncoding(Self.text(line, colon))
        case 19 where name.equalsIgnoringCase("if-unmodified-since"):
            Self.add(line, colon, offset, to: &head.ifUnmodifiedSince)
        default: break
        }
        return nil
    }

    /// Where the value is, without the blanks around it.
    @inline(__always)
    private static func value(_ line: UnsafeRawBufferPointer, _ colon: Int) -> Range<Int> {
        var (start, end) = (colon &+ 1, line.count)
        while start < end, Byte.isBlank(line[start]) { start &+= 1 }
        while end > start, Byte.isBlank(line[end &- 1]) { end &-= 1 }
        return start..<end
    }

    // Out of line, as all that few requests have: what all have is then small enough to be in one.
    @inline(never)
    private static func text(
        _ line: UnsafeRawBufferPointer, _ colon: Int
    ) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: line[value(line, colon)])
    }

    /// A field on several lines is one list, in their order (RFC 9110, 5.3): from the first value
    /// to the last, with all between them. A date or a range that comes twice is none like this,
    /// and is ignored as others that are malformed.
    @inline(never)
    private static func add(
        _ line: UnsafeRawBufferPointer, _ colon: Int, _ offset: Int, to list: inout Slice
    ) {
        let value = value(line, colon)
        let added = Slice(offset + value.lowerBound..<offset + value.upperBound)
        if list.isEmpty {
            list = added
        } else {
            list.count = added.start + added.count - list.start
        }
    }

    @inline(__always)
    private mutating func takeHost(_ line: UnsafeRawBufferPointer, _ colon: Int) -> Status? {
        let value = Self.value(line, colon)
        guard seen.insert(.host).inserted else { return .badRequest }
        // Empty where the target's URI has no authority.
        let end = ByteSet.name.end(in: line, from: value.lowerBound, to: value.upperBound)
        if end == value.upperBound { return nil }
        if end > value.lowerBound, line[end] == Byte.colon,
            Self.isPort(line, end &+ 1..<value.upperBound)
        {
            return nil
        }
        return Authority.isValid(UnsafeRawBufferPointer(rebasing: line[value]))
            ? nil : .badRequest
    }

    /// Up to five digits at once. False for more, at which another way has to look.
    @inline(__always)
    private static func isPort(_ line: UnsafeRawBufferPointer, _ places: Range<Int>) -> Bool {
        let end = places.upperBound
        let count = end &- places.lowerBound
        guard count > 0, count <= 5, end >= 8 else { return false }
        // The last eight; what was before them goes, and noughts come for it.
        let unused = UInt64(truncatingIfNeeded: 64 &- count &* 8)
        let noughts: UInt64 = 0x3030_3030_3030_3030
        let last = line.loadUnaligned(fromByteOffset: end &- 8, as: UInt64.self)
        let word = (last ^ noughts) &>> unused
        // Now each has to be 0 to 9: six more leaves the upper half empty, as it was.
        guard (word | (word &+ 0x0606_0606_0606_0606)) & 0xF0F0_F0F0_F0F0_F0F0 == 0 else {
            return false
        }
        // The first is in the lowest byte; turned around they compare as numbers do, with 65535.
        return word.byteSwapped &>> unused <= 0x06_0505_0305
    }

    /// An empty list expects nothing.
    private mutating func takeExpect(_ value: UnsafeRawBufferPointer) -> Status? {
        var isKnown = true
        value.forEachElement { element in
            if element.isEmpty { return true }
            isKnown = element.equalsIgnoringCase("100-continue")
            if isKnown { head.expectsContinue = true }
            return isKnown
        }
        return isKnown ? nil : .expectationFailed
    }

    private mutating func takeConnection(_ value: UnsafeRawBufferPointer) {
        var (closes, keeps) = (false, false)
        value.forEachElement { element in
            if element.equalsIgnoringCase("close") { closes = true }
            if element.equalsIgnoringCase("keep-alive") { keeps = true }
            return true
        }
        if closes {
            head.keepsAlive = false
            seen.insert(.close)
        } else if keeps, !seen.contains(.close) {
            head.keepsAlive = true
        }
    }

    private mutating func takeLength(_ value: UnsafeRawBufferPointer) -> Status? {
        // Also when both are equal: whoever sent two had no reason that is good for us.
        guard seen.insert(.length).inserted, !value.isEmpty else { return .badRequest }
        var length = 0
        for byte in value {
            guard let digit = Byte.digit(byte) else { return .badRequest }
            // Saturates, so that the digits that follow are still checked.
            length = length > Int.max / 16 ? length : length * 10 + digit
        }
        guard length <= limits.body else { return .contentTooLarge }
        if !seen.contains(.transferEncoding) { head.body = .length(length) }
        return nil
    }

    private mutating func takeEncoding(_ value: UnsafeRawBufferPointer) -> Status? {
        guard seen.insert(.transferEncoding).inserted, !value.isEmpty else { return .badRequest }
        if value.equalsIgnoringCase("chunked") {
            head.body = .chunked
            return nil
        }
        var (isList, chunked) = (true, false)
        value.forEachElement { element in
            if !element.allSatisfy({ ByteSet.token.contains($0) }) || element.isEmpty {
                isList = false
            }
            // Twice, or not last: its end could not be found.
            if chunked { isList = false }
            if element.equalsIgnoringCase("chunked") { chunked = true }
            return true
        }
        return isList ? .notImplemented : .badRequest
    }
}
