// Parses requests of the Redis protocol from bytes that arrive in pieces of any size. The accepted
// input, the limits and the error texts are those of Redis 7.0, networking.c. Like Redis, the
// parser checks neither the byte after the CR of a length nor the two bytes after a bulk string.

/// Incremental parser that keeps its position between calls, so that no byte is examined twice.
/// Each call passes all bytes from the first one of the unfinished request on.
public struct RequestParser: ~Copyable {
    /// Limits on a request; the defaults are those of Redis.
    public struct Limits: Sendable {
        /// The most bytes of one argument.
        public var bulkBytes = 512 << 20
        /// The most arguments of one request.
        public var arguments = Int(Int32.max)
        /// The most bytes of an inline request, or of a line with a length.
        public var lineBytes = 64 << 10

        public init() {}
    }

    /// The result of a call of `parse(_:)`.
    public enum Step: Equatable, Sendable {
        /// A complete request of this many bytes. It may have no arguments; such a request gets no
        /// reply.
        case request(bytes: Int)
        /// More bytes are needed.
        case incomplete
        case failed(ProtocolError)
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
    /// The offset of the first byte not yet examined, from the start of the request.
    private var position = 0
    /// The offset of the line whose end is searched.
    private var lineStart = 0
    private var missing = 0
    private var parts = Parts()
    /// The arguments of an inline request without quotes and escapes.
    @usableFromInline var unquoted: [UInt8] = []
    @usableFromInline var isInline = false

    public init(limits: Limits = Limits()) { self.limits = limits }

    /// Whether the parser is between requests, with none half read.
    public var isIdle: Bool {
        if case .start = stage { true } else { false }
    }

    /// Parses the first request in `bytes`, which begin at the first byte of the unfinished
    /// request.
    public mutating func parse(_ bytes: UnsafeRawBufferPointer) -> Step {
        if case .start = stage, let end = parseWhole(bytes) { return .request(bytes: end) }
        return parseOn(bytes)
    }

    /// Parses the usual request in one pass: it is complete and has few arguments. Returns its
    /// length. Returns nil for malformed and incomplete input, which `parseOn` then parses from its
    /// first byte.
    @inline(__always)
    private mutating func parseWhole(_ bytes: UnsafeRawBufferPointer) -> Int? {
        let end = bytes.count
        var position = 0
        guard let count = Self.takeLength(bytes, end, &position, UInt8(ascii: "*")),
            1...min(99, limits.arguments) ~= count
        else { return nil }
        parts.reserve(count)
        for index in 0..<count {
            guard let length = Self.takeLength(bytes, end, &position, UInt8(ascii: "$")),
                length <= limits.bulkBytes, end &- position >= length &+ 2
            else { return nil }
            parts.base[index] = Request.Part(start: position, count: length)
            position &+= length &+ 2
        }
        parts.set(count: count)
        isInline = false
        return position
    }

    /// Reads a mark, a length and the two bytes of a line end. A complete request has at least six
    /// more bytes here, so one check of the count covers lengths of two digits.
    @inline(__always)
    private static func takeLength(
        _ bytes: UnsafeRawBufferPointer, _ end: Int, _ position: inout Int, _ mark: UInt8
    ) -> Int? {
        guard end &- position >= 6, bytes[position] == mark else { return nil }
        let first = Int(bytes[position &+ 1] &- UInt8(ascii: "0"))
        guard first <= 9 else { return nil }
        if bytes[position &+ 2] == carriageReturn {
            position &+= 4
            return first
        }
        let second = Int(bytes[position &+ 2] &- UInt8(ascii: "0"))
        guard first > 0, second <= 9 else { return nil }
        guard bytes[position &+ 3] == carriageReturn else {
            return takeLongLength(bytes, end, &position)
        }
        position &+= 5
        return first &* 10 &+ second
    }

    /// Like `takeLength`, but for up to nine digits, the first of which is known to be 1 to 9.
    @inline(never)
    private static func takeLongLength(
        _ bytes: UnsafeRawBufferPointer, _ end: Int, _ position: inout Int
    ) -> Int? {
        var place = position &+ 1
        let last = min(end &- 2, place &+ 9)
        var length = 0
        while place <= last, bytes[place] != carriageReturn {
            let digit = Int(bytes[place] &- UInt8(ascii: "0"))
            guard digit <= 9 else { return nil }
            length = length &* 10 &+ digit
            place &+= 1
        }
        guard place <= last else { return nil }
        position = place &+ 2
        return length
    }

    private mutating func parseOn(_ bytes: UnsafeRawBufferPointer) -> Step {
        do throws(ProtocolError) {
            while true {
                switch stage {
                case .start:
                    guard let first = bytes.first else { return .incomplete }
                    parts.removeAll()
                    isInline = first != UInt8(ascii: "*")
                    position = isInline ? 0 : 1
                    lineStart = position
                    stage = isInline ? .inline : .argumentCount
                case .inline:
                    guard let end = try findLine(in: bytes, lineFeed, .longInline)
                    else { return .incomplete }
                    try splitInline(bytes, end)
                    return finish(end + 1)
                case .argumentCount:
                    guard let end = try findLine(in: bytes, carriageReturn, .longArgumentCount)
                    else { return .incomplete }
                    let count = Decimal.parse(bytes, lineStart, end)
                    guard let count, count <= limits.arguments else {
                        throw .badArgumentCount
                    }
                    position = end + 2
                    if count <= 0 { return finish(position) }
                    missing = count
                    stage = .bulkMark
                case .bulkMark:
                    guard position < bytes.count else { return .incomplete }
                    guard bytes[position] == UInt8(ascii: "$") else {
                        throw .noBulk(bytes[position])
                    }
                    position += 1
                    lineStart = position
                    stage = .bulkLength
                case .bulkLength:
                    guard let end = try findLine(in: bytes, carriageReturn, .longBulkCount)
                    else { return .incomplete }
                    let length = Decimal.parse(bytes, lineStart, end)
                    guard let length, length >= 0, length <= limits.bulkBytes else {
                        throw .badBulkLength
                    }
                    position = end + 2
                    stage = .bulk(length)
                case .bulk(let length):
                    guard bytes.count - position >= length + 2 else { return .incomplete }
                    parts.append(Request.Part(start: position, count: length))
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
    @inlinable
    @inline(__always)
    public mutating func withRequest<R>(
        in bytes: UnsafeRawBufferPointer, _ body: (Request) throws -> R
    ) rethrows -> R {
        let request = request(in: bytes)
        // The client may be idle after this request.
        defer { if request.count > Parts.kept { forgetParts() } }
        guard isInline else { return try body(request) }
        return try unquoted.withUnsafeBytes { try body(self.request(in: $0)) }
    }

    @usableFromInline
    mutating func forgetParts() { parts.removeAll() }

    /// The number of arguments for whose positions there is memory.
    package var argumentCapacity: Int { parts.capacity }

    @usableFromInline
    func request(in bytes: UnsafeRawBufferPointer) -> Request {
        Request(bytes: bytes.baseAddress, parts: parts.base, count: parts.count)
    }

    private mutating func finish(_ end: Int) -> Step {
        stage = .start
        return .request(bytes: end)
    }

    /// Returns the index of the mark that ends the line. After a CR, one more byte must be there.
    /// Returns nil if the end has not arrived, and throws `excess` if the line is too long. The
    /// limit is on the line and not on the bytes after it, so the result does not depend on where
    /// the input is cut.
    private mutating func findLine(
        in bytes: UnsafeRawBufferPointer, _ mark: UInt8, _ excess: ProtocolError
    ) throws(ProtocolError) -> Int? {
        let last = min(bytes.count, lineStart + limits.lineBytes + 1)
        while position < last {
            if bytes[position] == mark {
                return mark == lineFeed || position + 1 < bytes.count ? position : nil
            }
            position += 1
        }
        guard position - lineStart <= limits.lineBytes else { throw excess }
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
            parts.append(Request.Part(start: start, count: unquoted.count - start))
        }
    }
}

let carriageReturn = UInt8(ascii: "\r")
let lineFeed = UInt8(ascii: "\n")
