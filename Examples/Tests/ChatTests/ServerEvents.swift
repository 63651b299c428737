/// The output of the server on one WebSocket, as text: the head of its response, then the events of
/// its frames.
import TestSupport
import WebSocketCodec

struct ServerEvents {
    private var reader = MessageReader(from: .server)
    private var buffer: [UInt8] = []
    /// The response to the handshake; empty until it is complete.
    private(set) var head = ""
    /// The events that no call of `next()` has returned.
    private var waiting: [String] = []

    static let upgrade =
        "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

    /// Returns the events of all bytes that a server has sent, except the statistics.
    static func of(_ bytes: some Sequence<UInt8>) throws -> [String] {
        var events = ServerEvents()
        try events.take(Array(bytes))
        return events.waiting.filter { !$0.hasPrefix(Told.statistics) }
    }

    static func text(_ text: String) -> [UInt8] { frame(.text, Array(text.utf8)) }

    static func frame(_ opcode: Opcode, _ payload: [UInt8] = []) -> [UInt8] {
        FrameWriter.frame(opcode, payload, maskingKey: 0x1234_5678)
    }

    /// Returns the next event; nil if none has arrived.
    mutating func next() -> String? { waiting.isEmpty ? nil : waiting.removeFirst() }

    /// Adds bytes that the server has sent.
    mutating func take(_ bytes: [UInt8]) throws {
        buffer += bytes
        if head.isEmpty {
            let blank = Array("\r\n\r\n".utf8)
            guard let end = buffer.firstRange(of: blank)?.upperBound else { return }
            head = String(decoding: buffer[..<end], as: UTF8.self)
            buffer.removeFirst(end)
            guard head.hasPrefix("HTTP/1.1 101 ") else { throw Failure(head) }
        }
        while !buffer.isEmpty {
            let step = buffer.withUnsafeBytes { reader.read($0) }
            buffer.removeFirst(step.consumed)
            guard let event = step.event else { return }
            waiting.append(describe(event))
        }
    }

    private func describe(_ event: MessageReader.Event) -> String {
        let control = String(decoding: reader.control, as: UTF8.self)
        return switch event {
        case .text: String(decoding: reader.message, as: UTF8.self)
        case .binary: "binary"
        case .ping: "ping \(control)"
        case .pong: "pong \(control)"
        case .close(let code): "close \(code?.rawValue ?? 0) \(control)"
        case .failed(let code): "failed \(code.rawValue)"
        }
    }
}

/// The events of the room.
enum Told {
    /// The beginning of the event with the counters.
    static let statistics = #"{"kind":"statistics","#

    static func joined(_ name: String) -> String { #"{"kind":"joined","name":"\#(name)"}"# }
    static func left(_ name: String) -> String { #"{"kind":"left","name":"\#(name)"}"# }

    static func message(_ name: String, _ text: String) -> String {
        #"{"kind":"message","name":"\#(name)","text":"\#(text)"}"#
    }
}
