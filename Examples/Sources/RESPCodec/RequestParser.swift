// Cuts requests of the Redis protocol from bytes that arrive in pieces of any size. What it
// accepts, its limits and its error texts are those of Redis 7.0, networking.c, also where Redis is
// lenient: the two bytes that end a length or a bulk string are not looked at.

/// What a peer sent that is no request. Redis says so, and closes.
public struct ProtocolError: Error, Equatable, Sendable {
    /// As Redis words it, without the `-` and the line's end.
    public let text: String

    init(_ text: String) { self.text = "ERR Protocol error: " + text }
}

/// Keeps its place between calls, so that no byte is looked at twice: show it again, from the first
/// byte of the unfinished request on, with whatever came meanwhile.
public struct RequestParser {
    /// What Redis allows.
    public struct Limits: Sendable {
        /// Of one argument.
        public var bulkBytes = 512 << 20
        /// Arguments of one request.
        public var arguments = Int(Int32.max)
        /// Of an inline request, or of a line with a length.
        public var lineBytes = 64 << 10

        public init() {}
    }

    /// What a call found.
    public enum Step: Equatable, Sendable {
        /// A request is complete, and took this many bytes. It may have no arguments, and then
        /// wants no reply.
        case request(bytes: Int)
        /// More bytes are needed.
        case incomplete
        case failed(ProtocolError)
    }

    struct Part {
        var start: Int
        var count: Int
    }

    private enum Stage {
        case start
        case inline
        case argumentCount
        case bulkMark
        case bulkLength
        case bulk(Int)
    }

    private let limits: Limits
    private var stage = Stage.start
    /// The first byte not looked at, from the start of the request.
    private var position = 0
    /// The first byte of the line whose end is being looked for.
    private var lineStart = 0
    private var missing = 0
    private var parts: [Part] = []
    /// An inline request's arguments without quotes and escapes.
    private var unquoted: [UInt8] = []
    private var isInline = false

    public init(limits: Limits = Limits()) { self.limits = limits }

    /// True between requests: nothing is half read.
    public var isIdle: Bool {
        if case .start = stage { true } else { false }
    }

    /// The first request in `bytes`, which begin where the unfinished one begins.
    public mutating func parse(_ bytes: UnsafeRawBufferPointer) -> Step {
        do throws(ProtocolError) {
            while true {
                switch stage {
                case .start:
                    guard let first = bytes.first else { return .incomplete }
                    parts.removeAll(keepingCapacity: true)
                    isInline = first != UInt8(ascii: "*")
                    position = isInline ? 0 : 1
                    lineStart = position
                    stage = isInline ? .inline : .argumentCount
                case .inline:
                    guard let end = try findLine(in: bytes, lineFeed, "too big inline request")
                    else { return .incomplete }
                    try splitInline(bytes, end)
                    return finish(end + 1)
                case .argumentCount:
                    if let count = takeShortLength(bytes, limits.arguments) {
                        missing = count
                        stage = .bulkMark
                        continue
                    }
                    guard
                        let end = try findLine(
                            in: bytes, carriageReturn, "too big mbulk count string")
                    else { return .incomplete }
                    let count = Decimal.parse(bytes, lineStart, end)
                    guard let count, count <= limits.arguments else {
                        throw ProtocolError("invalid multibulk length")
                    }
                    position = end + 2
                    if count <= 0 { return finish(position) }
                    missing = count
                    stage = .bulkMark
                case .bulkMark:
                    guard position < bytes.count else { return .incomplete }
                    guard bytes[position] == UInt8(ascii: "$") else {
                        throw ProtocolError("expected '$', got '\(shown(bytes[position]))'")
                    }
                    position += 1
                    lineStart = position
                    stage = .bulkLength
                case .bulkLength:
                    if let length = takeShortLength(bytes, limits.bulkBytes) {
                        stage = .bulk(length)
                        continue
                    }
                    guard
                        let end = try findLine(
                            in: bytes, carriageReturn, "too big bulk count string")
                    else { return .incomplete }
                    let length = Decimal.parse(bytes, lineStart, end)
                    guard let length, length >= 0, length <= limits.bulkBytes else {
                        throw ProtocolError("invalid bulk length")
                    }
                    position = end + 2
                    stage = .bulk(length)
                case .bulk(let length):
                    guard bytes.count - position >= length + 2 else { return .incomplete }
                    parts.append(Part(start: position, count: length))
                    position += length + 2
                    missing -= 1
                    if missing == 0 { return finish(position) }
                    stage = .bulkMark
                }
            }
        } catch {
            return .failed(error)
        }
    }

    /// Runs `body` with the request that `parse` has just completed in the same bytes.
    @inline(__always)
    public mutating func withRequest<R>(
        in bytes: UnsafeRawBufferPointer, _ body: (Request) throws -> R
    ) rethrows -> R {
        try parts.withUnsafeBufferPointer { parts in
            guard isInline else { return try body(Request(bytes: bytes, parts: parts)) }
            return try unquoted.withUnsafeBytes { try body(Request(bytes: $0, parts: parts)) }
        }
    }

    /// Takes a length of one digit or two, which most are, without looking for the line end first.
    /// In a benchmark of small values that halves what parsing costs.
    @inline(__always)
    private mutating func takeShortLength(
        _ bytes: UnsafeRawBufferPointer, _ limit: Int
    ) -> Int? {
        guard limit >= 99, position == lineStart, position + 3 < bytes.count else { return nil }
        let first = bytes[position] &- UInt8(ascii: "0")
        guard 1...9 ~= first else { return nil }
        if bytes[position + 1] == carriageReturn {
            position += 3
            return Int(first)
        }
        let second = bytes[position + 1] &- UInt8(ascii: "0")
        guard second <= 9, bytes[position + 2] == carriageReturn else { return nil }
        position += 4
        return Int(first) * 10 + Int(second)
    }

    private mutating func finish(_ end: Int) -> Step {
        stage = .start
        return .request(bytes: end)
    }

    /// Where the line ends, with one more byte there after a CR; nil if that has not come. The
    /// limit is on the line and not on what came with it, so that the answer does not depend on how
    /// the bytes were cut.
    private mutating func findLine(
        in bytes: UnsafeRawBufferPointer, _ mark: UInt8, _ excess: String
    ) throws(ProtocolError) -> Int? {
        let last = min(bytes.count, lineStart + limits.lineBytes + 1)
        while position < last {
            if bytes[position] == mark {
                return mark == lineFeed || position + 1 < bytes.count ? position : nil
            }
            position += 1
        }
        guard position - lineStart <= limits.lineBytes else { throw ProtocolError(excess) }
        return nil
    }

    private mutating func splitInline(
        _ bytes: UnsafeRawBufferPointer, _ end: Int
    ) throws(ProtocolError) {
        unquoted.removeAll(keepingCapacity: true)
        let hasCR = end > lineStart && bytes[end - 1] == carriageReturn
        var line = InlineSplitter(
            line: UnsafeRawBufferPointer(rebasing: bytes[lineStart..<(hasCR ? end - 1 : end)]))
        while true {
            let start = unquoted.count
            guard try line.next(into: &unquoted) else { return }
            parts.append(Part(start: start, count: unquoted.count - start))
        }
    }

    /// Redis replaces line ends in an error by blanks. A byte that is no character of its own is
    /// shown as the letter of that number in Latin-1.
    private func shown(_ byte: UInt8) -> Character {
        byte == carriageReturn || byte == lineFeed ? " " : Character(Unicode.Scalar(byte))
    }
}

/// A complete request, lent by the parser: valid inside `withRequest`.
public struct Request {
    private let bytes: UnsafeRawBufferPointer
    private let parts: UnsafeBufferPointer<RequestParser.Part>

    init(bytes: UnsafeRawBufferPointer, parts: UnsafeBufferPointer<RequestParser.Part>) {
        self.bytes = bytes
        self.parts = parts
    }

    /// Arguments, the command's name among them.
    public var count: Int { parts.count }

    /// One argument, the name being the first.
    public subscript(_ index: Int) -> UnsafeRawBufferPointer {
        let part = parts[index]
        return UnsafeRawBufferPointer(rebasing: bytes[part.start..<part.start + part.count])
    }
}

let carriageReturn = UInt8(ascii: "\r")
let lineFeed = UInt8(ascii: "\n")
