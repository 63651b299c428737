/// The requests that a server would read from a stream of bytes, as text. The buffer behaves like
/// that of a connection: bytes that were not consumed are passed again, together with new ones.
import HTTPCodec

struct Transcript {
    private(set) var lines: [String] = []
    private var buffer: [UInt8] = []
    private var parser: RequestParser
    private var decoder: BodyDecoder?
    private var body: [UInt8] = []
    private let limits: RequestLimits
    private var isRefused = false

    init(limits: RequestLimits = RequestLimits()) {
        self.limits = limits
        parser = RequestParser(limits: limits)
    }

    /// Returns the transcript of `bytes`, cut at the given places, which are in order.
    static func of(
        _ bytes: [UInt8], cuts: [Int] = [], limits: RequestLimits = RequestLimits()
    ) -> [String] {
        var transcript = Transcript(limits: limits)
        var start = 0
        for end in cuts + [bytes.count] {
            transcript.take(bytes[start..<end])
            start = end
        }
        transcript.end()
        return transcript.lines
    }

    mutating func take(_ piece: ArraySlice<UInt8>) {
        buffer += piece
        while !isRefused, step() {}
    }

    mutating func end() {
        if !isRefused, !buffer.isEmpty || decoder != nil { lines.append("partial") }
    }

    /// Returns false if more bytes are needed.
    private mutating func step() -> Bool {
        decoder == nil ? takeHead() : takeBody()
    }

    private mutating func takeHead() -> Bool {
        guard !buffer.isEmpty else { return false }
        switch buffer.withUnsafeBytes({ parser.parse($0) }) {
        case .needsMore: return false
        case .refused(let status): refuse(status)
        case .complete(let count):
            lines.append(buffer.withUnsafeBytes { describe(parser.head, $0) })
            buffer.removeFirst(count)
            let framing = parser.head.body
            parser.reset()
            if framing != .none { decoder = BodyDecoder(framing, limits: limits) }
        }
        return true
    }

    private mutating func takeBody() -> Bool {
        let step = buffer.withUnsafeBytes { decoder!.decode($0) }
        body += buffer[step.data]
        buffer.removeFirst(step.consumed)
        switch step.outcome {
        case .goesOn: return step.consumed > 0
        case .refused(let status): refuse(status)
        case .complete:
            lines.append("body \(String(decoding: body, as: UTF8.self))")
            body = []
            decoder = nil
        }
        return true
    }

    private mutating func refuse(_ status: Status) {
        lines.append("\(status.rawValue)")
        isRefused = true
    }

    private func describe(_ head: RequestHead, _ bytes: UnsafeRawBufferPointer) -> String {
        let target = String(decoding: head.target.of(bytes), as: UTF8.self)
        let path = String(decoding: head.path(in: bytes), as: UTF8.self)
        precondition(target.hasPrefix(path) || path == "/" && (target + "?").hasPrefix("?"))
        var words = ["\(head.method)", target.hasPrefix(path) ? target : path + target]
        if !head.isVersion11 { words.append("1.0") }
        if !head.keepsAlive { words.append("close") }
        if head.expectsContinue { words.append("continue") }
        for slice in [head.range, head.ifRange, head.ifNoneMatch, head.ifModifiedSince]
        where !slice.isEmpty {
            words.append(String(decoding: slice.of(bytes), as: UTF8.self))
        }
        return words.joined(separator: " ")
    }
}
