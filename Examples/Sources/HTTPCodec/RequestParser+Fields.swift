// Parsing of header fields: their syntax, and the few fields that this server uses.

extension RequestParser {
    @inline(__always)
    mutating func takeField(_ line: UnsafeRawBufferPointer, at offset: Int) -> Status? {
        guard let colon = FieldLine.colon(in: line) else { return .badRequest }
        let name = UnsafeRawBufferPointer(rebasing: line[..<colon])
        // For most fields, the length of the name alone shows that the field is not used here.
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

    /// Returns the range of the value without the blanks around it.
    @inline(__always)
    private static func value(_ line: UnsafeRawBufferPointer, _ colon: Int) -> Range<Int> {
        var (start, end) = (colon &+ 1, line.count)
        while start < end, Byte.isBlank(line[start]) { start &+= 1 }
        while end > start, Byte.isBlank(line[end &- 1]) { end &-= 1 }
        return start..<end
    }

    // Not inlined, like all code for rare fields. The code for common fields is then small enough
    // for one function.
    @inline(never)
    private static func text(
        _ line: UnsafeRawBufferPointer, _ colon: Int
    ) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: line[value(line, colon)])
    }

    /// Adds a value to the slice of a field. A field on several lines is one list in the order of
    /// the lines (RFC 9110, 5.3). The slice extends from its first value to its last. A date or a
    /// range on two lines becomes malformed in this way and is ignored.
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
        // The value is empty if the target's URI has no authority.
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

    /// Returns whether the bytes are a port of one to five digits, checked in one word. After
    /// false, the caller must check with `Authority.isValid(_:)`.
    @inline(__always)
    private static func isPort(_ line: UnsafeRawBufferPointer, _ places: Range<Int>) -> Bool {
        let end = places.upperBound
        let count = end &- places.lowerBound
        guard count > 0, count <= 5, end >= 8 else { return false }
        // The XOR maps the digits of the last eight bytes to 0 to 9. The shift removes the bytes
        // before the port and brings in zeros.
        let unused = UInt64(truncatingIfNeeded: 64 &- count &* 8)
        let noughts: UInt64 = 0x3030_3030_3030_3030
        let last = line.loadUnaligned(fromByteOffset: end &- 8, as: UInt64.self)
        let word = (last ^ noughts) &>> unused
        // Each byte must be 0 to 9: adding six then leaves its upper half zero.
        guard (word | (word &+ 0x0606_0606_0606_0606)) & 0xF0F0_F0F0_F0F0_F0F0 == 0 else {
            return false
        }
        // The first digit is in the lowest byte. In reversed byte order, the digits compare like a
        // number, here with 65535.
        return word.byteSwapped &>> unused <= 0x06_0505_0305
    }

    /// Parses the Expect field. An empty list expects nothing.
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
        // A second Content-Length is refused even if both are equal: no client has a harmless
        // reason for it.
        guard seen.insert(.length).inserted, !value.isEmpty else { return .badRequest }
        var length = 0
        for byte in value {
            guard let digit = Byte.digit(byte) else { return .badRequest }
            // The length saturates, so that the digits after it are still checked.
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
            // If `chunked` appears twice or is not last, the end of the body cannot be found.
            if chunked { isList = false }
            if element.equalsIgnoringCase("chunked") { chunked = true }
            return true
        }
        return isList ? .notImplemented : .badRequest
    }
}
