// Incremental parser of a request's head. The caller passes all unread bytes whenever more have
// arrived. The parser is strict on purpose: input that two servers in a row could read differently
// is refused. Request smuggling depends on such differences (RFC 9112, 11.2).

public struct RequestParser: Sendable {
    public enum Progress: Sendable, Equatable {
        case needsMore
        /// The head has this many bytes, and the body begins after them.
        case complete(Int)
        /// The caller answers with this status and closes, because the start of the next request is
        /// unknown.
        case refused(Status)
    }

    enum State {
        case requestLine
        case fields
    }

    public internal(set) var head = RequestHead()
    var limits: RequestLimits
    var seen = Seen()
    private var lines = LineScanner()
    private var state = State.requestLine
    private var fieldCount = 0
    private(set) var mayBeginEmpty = true

    /// The fields seen so far, of those that may appear only once or count only once.
    struct Seen: OptionSet, Sendable {
        let rawValue: UInt8
        static let host = Seen(rawValue: 1)
        static let length = Seen(rawValue: 2)
        static let transferEncoding = Seen(rawValue: 4)
        static let close = Seen(rawValue: 8)
    }

    public init(limits: RequestLimits = RequestLimits()) { self.limits = limits }

    /// Resets the parser; the next bytes are those of another request.
    public mutating func reset() {
        head = RequestHead()
        seen = []
        lines = LineScanner()
        state = .requestLine
        fieldCount = 0
        mayBeginEmpty = true
    }

    /// Parses the head as far as it has arrived. `bytes` are all bytes since the start of the head
    /// and include those of earlier calls. After `.refused`, only `reset` is useful.
    public mutating func parse(_ bytes: UnsafeRawBufferPointer) -> Progress {
        while state == .requestLine {
            switch lines.next(in: bytes, limit: limits.requestLine) {
            case .partial:
                return isNoRequest(bytes, from: lines.start) ? .refused(.badRequest) : .needsMore
            case .tooLong:
                let isNone = isNoRequest(bytes, from: lines.start)
                return .refused(isNone ? .badRequest : .uriTooLong)
            case .bareLineFeed: return .refused(.badRequest)
            case .line(let range):
                // Old clients send one empty line after a body (RFC 9112, 2.2).
                if range.isEmpty, mayBeginEmpty {
                    mayBeginEmpty = false
                    continue
                }
                let line = UnsafeRawBufferPointer(rebasing: bytes[range])
                if let status = takeRequestLine(line, at: range.lowerBound) {
                    return .refused(status)
                }
                state = .fields
            }
        }
        return parseFields(bytes)
    }

    /// Returns whether a request has begun; the empty line that may precede it does not count.
    /// `bytes` are those of the last call of `parse(_:)`.
    public func hasBegun(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard state == .requestLine else { return true }
        let rest = bytes.dropFirst(lines.start)
        return !rest.isEmpty && !(rest.count == 1 && rest.first == Byte.carriageReturn)
    }

    @inline(__always)
    private mutating func parseFields(_ bytes: UnsafeRawBufferPointer) -> Progress {
        while true {
            // The rest of the head's limit also bounds a line. Both limits are then found at the
            // same byte, wherever the input is cut.
            let left = max(0, limits.head &- lines.start)
            switch lines.next(in: bytes, limit: min(limits.field, left)) {
            case .partial: return .needsMore
            case .tooLong: return .refused(.headerFieldsTooLarge)
            case .bareLineFeed: return .refused(.badRequest)
            case .line(let range):
                if range.isEmpty {
                    // Most requests have no body and no Expect field.
                    if seen == .host, head.isVersion11, !head.expectsContinue {
                        return .complete(lines.start)
                    }
                    if let status = finish() { return .refused(status) }
                    return .complete(lines.start)
                }
                fieldCount &+= 1
                if fieldCount > limits.fields { return .refused(.headerFieldsTooLarge) }
                let line = UnsafeRawBufferPointer(rebasing: bytes[range])
                if let status = takeField(line, at: range.lowerBound) { return .refused(status) }
            }
        }
    }

    /// Checks the rules that depend on several fields.
    private mutating func finish() -> Status? {
        if head.isVersion11, !seen.contains(.host) { return .badRequest }
        if seen.contains(.length), seen.contains(.transferEncoding) { return .badRequest }
        // HTTP/1.0 has no transfer codings, so a proxy that forwarded this field did not read it.
        if !head.isVersion11, seen.contains(.transferEncoding) { return .badRequest }
        if head.expectsContinue { head.expectsContinue = hasToContinue }
        return nil
    }

    /// Whether the server has to send `100 Continue`. HTTP/1.0 does not have this response, and a
    /// client does not wait before an empty body.
    private var hasToContinue: Bool {
        switch head.body {
        case .none, .length(0): false
        case .length, .chunked: head.isVersion11
        }
    }
}
