/// The events that a server reads from a stream of bytes, as text. The buffer behaves like that of
/// a connection: bytes that were not consumed are passed again, together with new ones.
import WebSocketCodec

struct Transcript {
    private(set) var lines: [String] = []
    private(set) var buffer: [UInt8] = []
    private var reader: MessageReader

    /// Limits that a test can reach with few bytes.
    static let limits = MessageReader.Limits(frame: 70_000, message: 100_000, fragments: 64)

    init(from sender: Sender = .client, limits: MessageReader.Limits = Self.limits) {
        reader = MessageReader(from: sender, limits: limits)
    }

    /// Returns the transcript of `bytes`, cut at the given places, which are in order.
    static func of(_ bytes: [UInt8], cuts: [Int] = [], from sender: Sender = .client) -> [String] {
        var transcript = Transcript(from: sender)
        var start = 0
        for end in cuts + [bytes.count] {
            transcript.take(bytes[start..<end])
            start = end
        }
        return transcript.lines
    }

    mutating func take(_ piece: some Sequence<UInt8>) {
        buffer += piece
        while !buffer.isEmpty {
            let step = buffer.withUnsafeBytes { reader.read($0) }
            buffer.removeFirst(step.consumed)
            guard let event = step.event else { break }
            lines.append(describe(event))
        }
    }

    private func describe(_ event: MessageReader.Event) -> String {
        switch event {
        case .text: "text " + Self.shown(reader.message)
        case .binary: "binary " + Self.shown(reader.message)
        case .ping: "ping " + Self.shown(reader.control)
        case .pong: "pong " + Self.shown(reader.control)
        case .close(nil): "close"
        case .close(let code?): "close \(code.rawValue) " + Self.shown(reader.control)
        case .failed(let code): "failed \(code.rawValue)"
        }
    }

    /// Returns short text as it is, other bytes as their number and their sum.
    static func shown(_ bytes: [UInt8]) -> String {
        if bytes.count <= 125, let text = String(validating: bytes, as: UTF8.self) { return text }
        return "\(bytes.count) \(bytes.reduce(0) { $0 &* 31 &+ Int($1) })"
    }
}
