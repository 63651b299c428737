// The first line: method, target and version, with exactly one space between them.

extension RequestParser {
    @inline(__always)
    mutating func takeRequestLine(_ line: UnsafeRawBufferPointer, at offset: Int) -> Status? {
        let space = methodEnd(line)
        guard space > 0, space < line.count, line[space] == Byte.space else { return .badRequest }
        let start = space &+ 1
        let pathEnd = ByteSet.path.end(in: line, from: start, to: line.count)
        let end = targetEnd(line, from: pathEnd)
        guard end > start, end < line.count, line[end] == Byte.space else { return .badRequest }
        if let status = takeVersion(UnsafeRawBufferPointer(rebasing: line[(end &+ 1)...])) {
            return status
        }
        if let status = takeMethod(UnsafeRawBufferPointer(rebasing: line[..<space])) {
            return status
        }
        if line[start] == Byte.slash {
            head.target = Slice(offset &+ start..<offset &+ end)
            head.path = Slice(offset &+ start..<offset &+ pathEnd)
            return nil
        }
        let target = UnsafeRawBufferPointer(rebasing: line[start..<end])
        return takeOtherTarget(target, at: offset + start)
    }

    @inline(__always)
    private func methodEnd(_ line: UnsafeRawBufferPointer) -> Int {
        // Most requests are such.
        if line.count > 4, line[0] == 0x47, line[1] == 0x45, line[2] == 0x54, line[3] == 0x20 {
            return 3
        }
        return ByteSet.token.end(in: line, from: 0, to: line.count)
    }

    /// Of a target whose path ends there.
    @inline(__always)
    private func targetEnd(_ line: UnsafeRawBufferPointer, from pathEnd: Int) -> Int {
        guard pathEnd < line.count, line[pathEnd] == Byte.questionMark else { return pathEnd }
        return ByteSet.target.end(in: line, from: pathEnd, to: line.count)
    }

    @inline(__always)
    private mutating func takeVersion(_ text: UnsafeRawBufferPointer) -> Status? {
        guard text.count == 8, UnsafeRawBufferPointer(rebasing: text[..<5]).equals("HTTP/"),
            let major = Byte.digit(text[5]), text[6] == 0x2E, let minor = Byte.digit(text[7])
        else { return .badRequest }
        guard major == 1 else { return .versionNotSupported }
        head.isVersion11 = minor >= 1
        head.keepsAlive = head.isVersion11
        return nil
    }

    @inline(__always)
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

    /// Not origin form: absolute form, which every server must take; or `*` for OPTIONS.
    private mutating func takeOtherTarget(
        _ text: UnsafeRawBufferPointer, at offset: Int
    ) -> Status? {
        if text.equals("*") {
            head.target = Slice(offset..<offset + 1)
            head.path = head.target
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
        let path = text[end...].prefix { $0 != Byte.questionMark }
        head.path = Slice(offset + end..<offset + path.endIndex)
        return nil
    }
}
