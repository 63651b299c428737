// Header fields: their form, and the few that this server acts on.

extension RequestParser {
    mutating func takeField(_ line: UnsafeRawBufferPointer, at offset: Int) -> Status? {
        guard let colon = FieldLine.colon(in: line) else { return .badRequest }
        let name = UnsafeRawBufferPointer(rebasing: line[..<colon])
        var (start, end) = (colon + 1, line.count)
        while start < end, Byte.isBlank(line[start]) { start += 1 }
        while end > start, Byte.isBlank(line[end - 1]) { end -= 1 }
        let value = UnsafeRawBufferPointer(rebasing: line[start..<end])
        let slice = Slice(offset + start..<offset + end)
        // The length decides for most fields that the name need not be looked at.
        switch name.count {
        case 4 where name.equalsIgnoringCase("host"): return takeHost(value)
        case 5 where name.equalsIgnoringCase("range"): head.range = slice
        case 6 where name.equalsIgnoringCase("expect"): return takeExpect(value)
        case 8 where name.equalsIgnoringCase("if-range"): head.ifRange = slice
        case 8 where name.equalsIgnoringCase("if-match"): head.ifMatch = slice
        case 10 where name.equalsIgnoringCase("connection"): takeConnection(value)
        case 13 where name.equalsIgnoringCase("if-none-match"): head.ifNoneMatch = slice
        case 14 where name.equalsIgnoringCase("content-length"): return takeLength(value)
        case 17 where name.equalsIgnoringCase("if-modified-since"): head.ifModifiedSince = slice
        case 17 where name.equalsIgnoringCase("transfer-encoding"): return takeEncoding(value)
        case 19 where name.equalsIgnoringCase("if-unmodified-since"): head.ifUnmodifiedSince = slice
        default: break
        }
        return nil
    }

    private mutating func takeHost(_ value: UnsafeRawBufferPointer) -> Status? {
        guard seen.insert(.host).inserted else { return .badRequest }
        for byte in value where !ByteSet.host.contains(byte) { return .badRequest }
        return nil
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

/// The form of one field line, in headers and trailers.
enum FieldLine {
    /// Where the colon is; nil if the line is malformed. A line that begins with a blank continues
    /// the one before it in old HTTP, and is malformed since: its name would be empty.
    static func colon(in line: UnsafeRawBufferPointer) -> Int? {
        var colon = 0
        while colon < line.count, ByteSet.token.contains(line[colon]) { colon &+= 1 }
        guard colon > 0, colon < line.count, line[colon] == Byte.colon else { return nil }
        return Byte.areFieldValues(line, from: colon &+ 1) ? colon : nil
    }
}
