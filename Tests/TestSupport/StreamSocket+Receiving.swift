/// A client's receives: bytes, silence, or one of two ends.
import Glibc

/// How a stream ended.
public enum StreamEnd: Equatable, Sendable {
    /// A FIN, after everything before it.
    case clean
    /// A RST, or another error.
    case reset(CInt)

    public var isReset: Bool { self != .clean }
}

public enum Reception {
    case bytes(Int)
    case nothingYet
    case end(StreamEnd)
}

/// The stream ended before all bytes had come.
public struct EndedEarly: Error, CustomStringConvertible {
    public let received: Int
    public let expected: Int
    public let end: StreamEnd

    public init(received: Int, expected: Int, end: StreamEnd) {
        self.received = received
        self.expected = expected
        self.end = end
    }

    public var description: String {
        "the stream ended (\(end)) after \(received) of \(expected) bytes"
    }
}

extension StreamSocket {
    /// Reads pieces until `limit` bytes have come, which returns nil, or until the end, which is
    /// returned.
    public func receive(
        atMost limit: Int, _ what: () -> String, _ take: (UnsafeRawBufferPointer) throws -> Void
    ) throws -> StreamEnd? {
        let deadline = Deadline()
        let size = min(limit, 262_144)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 16)
        defer { buffer.deallocate() }
        var total = 0
        while total < limit {
            let room = UnsafeMutableRawBufferPointer(rebasing: buffer[..<min(size, limit - total)])
            switch try receiveSome(room) {
            case .bytes(let count):
                try take(UnsafeRawBufferPointer(rebasing: room[..<count]))
                total += count
            case .nothingYet: try wait(for: POLLIN, deadline, what())
            case .end(let end): return end
            }
        }
        return nil
    }

    public func receive(exactly count: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        let end = try receive(atMost: count, { "received \(bytes.count) of \(count) bytes" }) {
            bytes.append(contentsOf: $0)
        }
        if let end { throw EndedEarly(received: bytes.count, expected: count, end: end) }
        return bytes
    }

    public func receiveText(exactly count: Int) throws -> String {
        String(decoding: try receive(exactly: count), as: UTF8.self)
    }

    public func receiveUntilEnd(
        atMost limit: Int = 1 << 30
    ) throws -> (bytes: [UInt8], end: StreamEnd) {
        var bytes: [UInt8] = []
        let end = try receive(atMost: limit, { "the end, after \(bytes.count) bytes" }) {
            bytes.append(contentsOf: $0)
        }
        guard let end else { throw Overdue(what: "an end after \(limit) bytes", limit: .zero) }
        return (bytes, end)
    }

    public func receiveTextUntilEnd() throws -> (text: String, end: StreamEnd) {
        let (bytes, end) = try receiveUntilEnd()
        return (String(decoding: bytes, as: UTF8.self), end)
    }
}
