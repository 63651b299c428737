// The incremental parser of a request's head: show it the unread bytes whenever there are more.
// Strict on purpose. Whatever two servers in a row could read differently is refused here, since
// such a difference is what request smuggling lives on (RFC 9112, 11.2).

public struct RequestParser: Sendable {
    public enum Progress: Sendable, Equatable {
        case needsMore
        /// The head has this many bytes, and the body begins after them.
        case complete(Int)
        /// Answer with this status and close: where the next request begins is not known.
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

    /// Fields that count only once, or may come only once.
    struct Seen: OptionSet, Sendable {
        let rawValue: UInt8
        static let host = Seen(rawValue: 1)
        static let length = Seen(rawValue: 2)
        static let transferEncoding = Seen(rawValue: 4)
        static let close = Seen(rawValue: 8)
    }

    public init(limits: RequestLimits = RequestLimits()) { self.limits = limits }

    /// Forgets the request; the next bytes are those of another one.
    public mutating func reset() {
        head = RequestHead()
        seen = []
        lines = LineScanner()
        state = .requestLine
        fieldCount = 0
        mayBeginEmpty = true
    }

    /// `bytes` are all that came since the head began; those that were shown before must still be
    /// there. After `.refused`, only `reset` makes sense.
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
                // One empty line is left over by old clients after a body (RFC 9112, 2.2).
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

    /// Whether more of a request has come than the empty line that may stand before it. `bytes` are
    /// those that were parsed last.
    public func hasBegun(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard state == .requestLine else { return true }
        let rest = bytes.dropFirst(lines.start)
        return !rest.isEmpty && !(rest.count == 1 && rest.first == Byte.carriageReturn)
    }

    @inline(__always)
    private mutating func parseFields(_ bytes: UnsafeRawBufferPointer) -> Progress {
        while true {
            // What is left for the head bounds a line too, so that both limits are found at the
            // same byte however the bytes are cut.
            let left = max(0, limits.head &- lines.start)
            switch lines.next(in: bytes, limit: min(limits.field, left)) {
            case .partial: return .needsMore
            case .tooLong: return .refused(.headerFieldsTooLarge)
            case .bareLineFeed: return .refused(.badRequest)
            case .line(let range):
                if range.isEmpty {
                    // Most have no body and expect nothing.
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

    /// What can be told only from all fields together.
    private mutating func finish() -> Status? {
        if head.isVersion11, !seen.contains(.host) { return .badRequest }
        if seen.contains(.length), seen.contains(.transferEncoding) { return .badRequest }
        // An earlier version knows no codings, so whoever passed this on did not read it.
        if !head.isVersion11, seen.contains(.transferEncoding) { return .badRequest }
        if head.expectsContinue { head.expectsContinue = hasToContinue }
        return nil
    }

    /// An earlier version knows no such answer, and nobody waits to send nothing.
    private var hasToContinue: Bool {
        switch head.body {
        case .none, .length(0): false
        case .length, .chunked: head.isVersion11
        }
    }
}
