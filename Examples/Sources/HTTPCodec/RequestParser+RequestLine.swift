// The first line: method, target and version, with exactly one space between them.

extension RequestParser {
    mutating func takeRequestLine(_ line: UnsafeRawBufferPointer, at offset: Int) -> Status? {
        var end = 0
        while end < line.count, ByteSet.token.contains(line[end]) { end &+= 1 }
        guard end > 0, end < line.count, line[end] == Byte.space else { return .badRequest }
        let method = UnsafeRawBufferPointer(rebasing: line[..<end])
        let start = end + 1
        end = start
        while end < line.count, ByteSet.target.contains(line[end]) { end &+= 1 }
        guard end > start, end < line.count, line[end] == Byte.space else { return .badRequest }
        if let status = takeVersion(UnsafeRawBufferPointer(rebasing: line[(end + 1)...])) {
            return status
        }
        if let status = takeMethod(method) { return status }
        return takeTarget(UnsafeRawBufferPointer(rebasing: line[start..<end]), at: offset + start)
    }

    private mutating func takeVersion(_ text: UnsafeRawBufferPointer) -> Status? {
        guard text.count == 8, UnsafeRawBufferPointer(rebasing: text[..<5]).equals("HTTP/"),
            let major = Byte.digit(text[5]), text[6] == 0x2E, let minor = Byte.digit(text[7])
        else { return .badRequest }
        guard major == 1 else { return .versionNotSupported }
        head.isVersion11 = minor >= 1
        head.keepsAlive = head.isVersion11
        return nil
    }

    private mutating func takeMethod(_ text: UnsafeRawBufferPointer) -> Status? {
        if text.equals("GET") {
            head.method = .get
        } else if text.equals("HEAD") {
            head.method = .head
        } else if text.equals("POST") {
            head.method = .post
        } else if text.equals("PUT") || text.equals("DELETE") || text.equals("OPTIONS")
            || text.equals("PATCH") || text.equals("TRACE")
        {
            head.method = .other
        } else {
            // CONNECT too: what follows it would not be HTTP.
            return .notImplemented
        }
        return nil
    }

    /// Origin form; absolute form, which every server must take; or `*` for OPTIONS.
    private mutating func takeTarget(
        _ text: UnsafeRawBufferPointer, at offset: Int
    ) -> Status? {
        if text[0] == Byte.slash {
            head.target = Slice(offset..<offset + text.count)
            return nil
        }
        if text.equals("*") {
            head.target = Slice(offset..<offset + 1)
            return head.method == .other ? nil : .badRequest
        }
        let scheme = text.prefix { $0 != Byte.colon }.count
        let name = UnsafeRawBufferPointer(rebasing: text[..<scheme])
        guard name.equalsIgnoringCase("http") || name.equalsIgnoringCase("https"),
            text.count > scheme + 3, text[scheme + 1] == Byte.slash, text[scheme + 2] == Byte.slash
        else { return .badRequest }
        let hostStart = scheme + 3
        var end = hostStart
        while end < text.count, text[end] != Byte.slash, text[end] != Byte.questionMark {
            guard ByteSet.host.contains(text[end]) else { return .badRequest }
            end += 1
        }
        guard end > hostStart else { return .badRequest }
        head.target = Slice(offset + end..<offset + text.count)
        return nil
    }
}
