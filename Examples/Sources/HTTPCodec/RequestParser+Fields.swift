// Header fields: their form, and the few that this server acts on.

extension RequestParser {
    @inline(__always)
    mutating func takeField(_ line: UnsafeRawBufferPointer, at offset: Int) -> Status? {
        guard let colon = FieldLine.colon(in: line) else { return .badRequest }
        let name = UnsafeRawBufferPointer(rebasing: line[..<colon])
        // The length decides for most fields that neither name nor value need be looked at.
        switch colon {
        case 4 where name.equalsIgnoringCase("host"): return takeHost(line, value(line, colon))
        case 5 where name.equalsIgnoringCase("range"):
            head.range = slice(line, colon, offset)
        case 6 where name.equalsIgnoringCase("expect"): return takeExpect(text(line, colon))
        case 8 where name.equalsIgnoringCase("if-range"):
            head.ifRange = slice(line, colon, offset)
        case 8 where name.equalsIgnoringCase("if-match"):
            head.ifMatch = slice(line, colon, offset)
        case 10 where name.equalsIgnoringCase("connection"): takeConnection(text(line, colon))
        case 13 where name.equalsIgnoringCase("if-none-match"):
            head.ifNoneMatch = slice(line, colon, offset)
        case 14 where name.equalsIgnoringCase("content-length"):
            return takeLength(text(line, colon))
        case 17 where name.equalsIgnoringCase("if-modified-since"):
            head.ifModifiedSince = slice(line, colon, offset)
        case 17 where name.equalsIgnoringCase("transfer-encoding"):
            return takeEncoding(text(line, colon))
        case 19 where name.equalsIgnoringCase("if-unmodified-since"):
            head.ifUnmodifiedSince = slice(line, colon, offset)
        default: break
        }
        return nil
    }

    /// Where the value is, without the blanks around it.
    @inline(__always)
    private func value(_ line: UnsafeRawBufferPointer, _ colon: Int) -> Range<Int> {
        var (start, end) = (colon &+ 1, line.count)
        while start < end, Byte.isBlank(line[start]) { start &+= 1 }
        while end > start, Byte.isBlank(line[end &- 1]) { end &-= 1 }
        return start..<end
    }

    private func text(_ line: UnsafeRawBufferPointer, _ colon: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: line[value(line, colon)])
    }

    private func slice(_ line: UnsafeRawBufferPointer, _ colon: Int, _ offset: Int) -> Slice {
        let value = value(line, colon)
        return Slice(offset + value.lowerBound..<offset + value.upperBound)
    }

    private mutating func takeHost(
        _ line: UnsafeRawBufferPointer, _ value: Range<Int>
    ) -> Status? {
        guard seen.insert(.host).inserted else { return .badRequest }
        let end = ByteSet.host.end(in: line, from: value.lowerBound, to: value.upperBound)
        return end == value.upperBound ? nil : .badRequest
    }

    private mutating func takeExpect(_ value: UnsafeRawBufferPointer) -> Status? {
        guard value.equalsIgnoringCase("100-continue") else { return .expectationFailed }
        head.expectsContinue = true
        return nil
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
