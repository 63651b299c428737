// Parsing of the first line: method, target and version, with exactly one space between them.

extension RequestParser {
    @inline(__always)
    mutating func takeRequestLine(_ line: UnsafeRawBufferPointer, at offset: Int) -> Status? {
        // Most requests are GET, which is also the initial method of a head.
        let isGet = line.count > 4 && line.loadUnaligned(as: UInt32.self) == Self.get
        let space = isGet ? 3 : ByteSet.token.end(in: line, from: 0, to: line.count)
        guard space > 0, space < line.count, line[space] == Byte.space else { return .badRequest }
        let start = space &+ 1
        let pathEnd = ByteSet.path.end(in: line, from: start, to: line.count)
        let end = targetEnd(line, from: pathEnd)
        guard end > start, end < line.count, line[end] == Byte.space else { return .badRequest }
        if let status = takeVersion(UnsafeRawBufferPointer(rebasing: line[(end &+ 1)...])) {
            return status
        }
        if !isGet, let status = takeMethod(UnsafeRawBufferPointer(rebasing: line[..<space])) {
            let target = UnsafeRawBufferPointer(rebasing: line[start..<end])
            let isConnect = UnsafeRawBufferPointer(rebasing: line[..<space]).equals("CONNECT")
            return isConnect && !Authority.hasPort(target) ? .badRequest : status
        }
        if line[start] == Byte.slash {
            head.target = Slice(offset &+ start..<offset &+ end)
            head.path = Slice(offset &+ start..<offset &+ pathEnd)
            return nil
        }
        let target = UnsafeRawBufferPointer(rebasing: line[start..<end])
        return takeOtherTarget(target, at: offset + start)
    }

    /// The bytes of `GET` and a space, and those of `HTTP/1.1`, as integers.
    private static let get = UInt32(littleEndian: 0x2054_4547)
    private static let version11 = UInt64(littleEndian: 0x312E_312F_5054_5448)

    /// Returns whether an incomplete line can only be refused. A method is a token, and TLS or
    /// another protocol does not begin with one. At most the length of the longest method is
    /// examined, so that bytes that arrive one by one cost little.
    func isNoRequest(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Bool {
        guard start < bytes.count else { return false }
        if mayBeginEmpty, bytes[start] == Byte.carriageReturn {
            return start + 1 < bytes.count && bytes[start + 1] != Byte.lineFeed
        }
        let seen = min(bytes.count, start + Self.longestMethod + 1)
        let end = ByteSet.token.end(in: bytes, from: start, to: seen)
        return end == start || end < seen && bytes[end] != Byte.space
    }

    private static let longestMethod = 24

    /// Returns the end of a target whose path ends at `pathEnd`.
    @inline(__always)
    private func targetEnd(_ line: UnsafeRawBufferPointer, from pathEnd: Int) -> Int {
        guard pathEnd < line.count, line[pathEnd] == Byte.questionMark else { return pathEnd }
        return ByteSet.target.end(in: line, from: pathEnd, to: line.count)
    }

    @inline(__always)
    private mutating func takeVersion(_ text: UnsafeRawBufferPointer) -> Status? {
        guard text.count == 8 else { return .badRequest }
        // This is also the initial version of a head.
        if text.loadUnaligned(as: UInt64.self) == Self.version11 { return nil }
        guard UnsafeRawBufferPointer(rebasing: text[..<5]).equals("HTTP/"),
            let major = Byte.digit(text[5]), text[6] == 0x2E, let minor = Byte.digit(text[7])
        else { return .badRequest }
        guard major == 1 else { return .versionNotSupported }
        head.isVersion11 = minor >= 1
        head.keepsAlive = head.isVersion11
        return nil
    }

    @inline(__always)
    private mutating func takeMethod(_ text: UnsafeRawBufferPointer) -> Status? {
        if text.equals("HEAD") {
            head.method = .head
        } else if text.equals("POST") {
            head.method = .post
        } else if text.equals("PUT") || text.equals("DELETE") || text.equals("OPTIONS")
            || text.equals("PATCH") || text.equals("TRACE")
        {
            head.method = .other
        } else {
            // This includes CONNECT: the bytes after it would not be HTTP.
            return .notImplemented
        }
        return nil
    }

    /// Parses a target that is not in origin form. Every server must accept the absolute form, and
    /// `*` is for OPTIONS.
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
        let end =
            text[hostStart...].firstIndex { $0 == Byte.slash || $0 == Byte.questionMark }
            ?? text.count
        guard Authority.isValid(UnsafeRawBufferPointer(rebasing: text[hostStart..<end])) else {
            return .badRequest
        }
        head.target = Slice(offset + end..<offset + text.count)
        let path = text[end...].prefix { $0 != Byte.questionMark }
        head.path = Slice(offset + end..<offset + path.endIndex)
        return nil
    }
}
