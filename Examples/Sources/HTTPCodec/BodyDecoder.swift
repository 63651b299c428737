// Incremental decoder of a request's body, framed by a length or by chunks. It returns each part of
// the body as it arrives and stores none. Trailers are checked and dropped.

public struct BodyDecoder: Sendable {
    /// The result of one call of `decode(_:)`.
    public struct Step: Sendable, Equatable {
        /// The range of the body's data within the given bytes; often empty.
        public var data: Range<Int> = 0..<0
        /// The number of bytes that the caller drops. If it is 0, the next call needs more bytes;
        /// otherwise the caller calls again at once with the rest.
        public var consumed = 0
        public var outcome = Outcome.goesOn

        public init(
            data: Range<Int> = 0..<0, consumed: Int = 0, outcome: Outcome = .goesOn
        ) {
            self.data = data
            self.consumed = consumed
            self.outcome = outcome
        }
    }

    public enum Outcome: Sendable, Equatable {
        case goesOn
        case complete
        case refused(Status)
    }

    private enum State: Sendable {
        case data(left: Int)
        case chunkSize
        case chunkData(left: Int)
        case chunkEnd
        case trailers
        case complete
    }

    /// The limit, in bytes, of a line with a chunk's size and its extensions. Clients do not use
    /// extensions, but attackers do.
    static let chunkLineLimit = 256

    private var state: State
    private var lines = LineScanner()
    private var total = 0
    private var trailerCount = 0
    private var trailerBytes = 0
    private let limits: RequestLimits

    public init(_ framing: BodyFraming, limits: RequestLimits = RequestLimits()) {
        self.limits = limits
        state =
            switch framing {
            case .none, .length(0): .complete
            case .length(let count): .data(left: count)
            case .chunked: .chunkSize
            }
    }

    public var isComplete: Bool { if case .complete = state { true } else { false } }

    /// Decodes the next part of the body. The caller repeats the call as long as bytes are
    /// consumed.
    public mutating func decode(_ bytes: UnsafeRawBufferPointer) -> Step {
        switch state {
        case .complete: return Step(outcome: .complete)
        case .data(let left):
            let count = min(left, bytes.count)
            state = count == left ? .complete : .data(left: left - count)
            return Step(
                data: 0..<count, consumed: count, outcome: count == left ? .complete : .goesOn)
        case .chunkData(let left):
            let count = min(left, bytes.count)
            state = count == left ? .chunkEnd : .chunkData(left: left - count)
            return Step(data: 0..<count, consumed: count)
        case .chunkSize: return line(in: bytes, limit: Self.chunkLineLimit) { $0.takeSize($1) }
        case .chunkEnd:
            // Two bytes decide here, while the line scanner would wait for a line feed.
            guard bytes.count > 0 else { return Step() }
            guard bytes[0] == Byte.carriageReturn else {
                return Step(outcome: .refused(.badRequest))
            }
            guard bytes.count > 1 else { return Step() }
            guard bytes[1] == Byte.lineFeed else { return Step(outcome: .refused(.badRequest)) }
            state = .chunkSize
            return Step(consumed: 2)
        case .trailers: return line(in: bytes, limit: limits.field) { $0.takeTrailer($1) }
        }
    }

    private mutating func line(
        in bytes: UnsafeRawBufferPointer, limit: Int,
        _ take: (inout BodyDecoder, UnsafeRawBufferPointer) -> Outcome
    ) -> Step {
        switch lines.next(in: bytes, limit: limit) {
        case .partial: return Step()
        case .tooLong: return Step(outcome: .refused(tooLong))
        case .bareLineFeed: return Step(outcome: .refused(.badRequest))
        case .line(let range):
            let consumed = lines.start
            lines = LineScanner()
            let outcome = take(&self, UnsafeRawBufferPointer(rebasing: bytes[range]))
            return Step(consumed: consumed, outcome: outcome)
        }
    }

    private var tooLong: Status {
        if case .trailers = state { .headerFieldsTooLarge } else { .contentTooLarge }
    }

    private mutating func takeSize(_ line: UnsafeRawBufferPointer) -> Outcome {
        var size = 0
        var digits = 0
        while digits < line.count, let digit = Byte.hexDigit(line[digits]) {
            // A size of more than 15 digits is refused, even if it begins with zeros.
            guard digits < 15 else { return .refused(.contentTooLarge) }
            size = size << 4 | digit
            digits += 1
        }
        guard digits > 0 else { return .refused(.badRequest) }
        if digits < line.count, !ChunkExtension.areValid(line, from: digits) {
            return .refused(.badRequest)
        }
        guard size <= limits.body - total else { return .refused(.contentTooLarge) }
        total += size
        state = size == 0 ? .trailers : .chunkData(left: size)
        return .goesOn
    }

    private mutating func takeTrailer(_ line: UnsafeRawBufferPointer) -> Outcome {
        if line.isEmpty {
            state = .complete
            return .complete
        }
        trailerCount += 1
        trailerBytes += line.count
        guard trailerCount <= limits.fields, trailerBytes <= limits.head else {
            return .refused(.headerFieldsTooLarge)
        }
        guard let colon = FieldLine.colon(in: line) else { return .refused(.badRequest) }
        // A server that merges trailers into the header would read another request (RFC 9110,
        // 6.5.1).
        let name = UnsafeRawBufferPointer(rebasing: line[..<colon])
        let isForbidden =
            name.equalsIgnoringCase("content-length")
            || name.equalsIgnoringCase("transfer-encoding") || name.equalsIgnoringCase("host")
        return isForbidden ? .refused(.badRequest) : .goesOn
    }
}
