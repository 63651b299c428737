/// A client's receives: bytes, silence, or one of two ends.
import Glibc
import MillraceTestSupport

/// How a stream ended.
enum StreamEnd: Equatable, Sendable {
    /// A FIN, after everything before it.
    case clean
    /// A RST, or another error.
    case reset(CInt)

    var isReset: Bool { self != .clean }
}

enum Reception {
    case bytes(Int)
    case nothingYet
    case end(StreamEnd)
}

/// The stream ended before all bytes had come.
struct EndedEarly: Error, CustomStringConvertible {
    let received: Int
    let expected: Int
    let end: StreamEnd

    var description: String { "the stream ended (\(end)) after \(received) of \(expected) bytes" }
}

extension TestClient {
    /// Reads the bytes that are there.
    func receiveSome(_ buffer: UnsafeMutableRawBufferPointer) throws -> Reception {
        guard let tls else { return try receivePlain(buffer) }
        _ = try? tls.withUnsent(sendPlain)
        while true {
            let count = tls.receive(into: buffer)
            if count > 0 { return .bytes(count) }
            if tls.hasEnded { return .end(.clean) }
            if tls.failure != nil { return .end(.reset(EPROTO)) }
            switch try receiveRecords(tls, atMost: max(4096, buffer.count - 20_000)) {
            case .bytes: continue
            // Without the end of its stream, the end of the connection is a cut.
            case .end(.clean): return .end(.reset(EPROTO))
            case let other: return other
            }
        }
    }

    func receiveRecords(_ tls: ClientTLS, atMost size: Int) throws -> Reception {
        let sealed = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 16)
        defer { sealed.deallocate() }
        if let end = tls.seenEnd { return .end(end) }
        let reception = try receivePlain(sealed)
        guard case .bytes(let count) = reception else { return reception }
        tls.take(UnsafeRawBufferPointer(rebasing: sealed[..<count]))
        return reception
    }

    func shakeHands(_ tls: ClientTLS) throws {
        let deadline = Deadline()
        tls.take(UnsafeRawBufferPointer(start: nil, count: 0))
        while !tls.isEstablished {
            _ = try tls.withUnsent(sendPlain)
            switch try receiveRecords(tls, atMost: 65_536) {
            case .bytes: break
            case .nothingYet: try wait(for: POLLIN, deadline, "the handshake")
            case .end(let end): throw EndedEarly(received: 0, expected: 1, end: end)
            }
            if let failure = tls.failure { throw SystemFailure("handshake: \(failure)", EPROTO) }
        }
        _ = try tls.withUnsent(sendPlain)
    }

    private func receivePlain(_ buffer: UnsafeMutableRawBufferPointer) throws -> Reception {
        while true {
            let count = recv(descriptor, buffer.baseAddress, buffer.count, 0)
            if count > 0 { return .bytes(count) }
            if count == 0 { return .end(.clean) }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .nothingYet
            case ECONNRESET, EPIPE, ETIMEDOUT: return .end(.reset(errno))
            default: throw SystemFailure("recv")
            }
        }
    }

    /// Reads pieces until `limit` bytes have come, which returns nil, or until the end, which is
    /// returned.
    private func receive(
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

    func receive(exactly count: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        let end = try receive(atMost: count, { "received \(bytes.count) of \(count) bytes" }) {
            bytes.append(contentsOf: $0)
        }
        if let end { throw EndedEarly(received: bytes.count, expected: count, end: end) }
        return bytes
    }

    func receiveText(exactly count: Int) throws -> String {
        String(decoding: try receive(exactly: count), as: UTF8.self)
    }

    func receiveUntilEnd(atMost limit: Int = 1 << 30) throws -> (bytes: [UInt8], end: StreamEnd) {
        var bytes: [UInt8] = []
        let end = try receive(atMost: limit, { "the end, after \(bytes.count) bytes" }) {
            bytes.append(contentsOf: $0)
        }
        guard let end else { throw Overdue(what: "an end after \(limit) bytes", limit: .zero) }
        return (bytes, end)
    }

    func receiveTextUntilEnd() throws -> (text: String, end: StreamEnd) {
        let (bytes, end) = try receiveUntilEnd()
        return (String(decoding: bytes, as: UTF8.self), end)
    }

    /// Receives `count` bytes and compares them at once: for streams too large to keep.
    func receive(_ pattern: Pattern, exactly count: Int, from start: Int = 0) throws {
        var position = start
        let end = try receive(atMost: count, { "received \(position - start) of \(count) bytes" }) {
            try pattern.verify($0, at: position)
            position += $0.count
        }
        if let end { throw EndedEarly(received: position - start, expected: count, end: end) }
    }

    /// Like `receive`, but up to the end, which is returned with the number of bytes.
    func receiveUntilEnd(_ pattern: Pattern) throws -> (count: Int, end: StreamEnd) {
        var position = 0
        let end = try receive(atMost: 1 << 40, { "the end, after \(position) bytes" }) {
            try pattern.verify($0, at: position)
            position += $0.count
        }
        return (position, end ?? .clean)
    }

    /// Receives the end, with no bytes before it.
    func receiveEnd() throws -> StreamEnd {
        let (bytes, end) = try receiveUntilEnd(atMost: 1 << 20)
        guard bytes.isEmpty else {
            throw EndedEarly(received: bytes.count, expected: 0, end: end)
        }
        return end
    }

    /// True if no byte comes for `time`.
    func staysSilent(for time: Duration) throws -> Bool {
        try !poll(for: POLLIN, Deadline(time))
    }

    /// Sends bytes and checks that the same bytes come back.
    func roundTrip(_ bytes: [UInt8]) throws -> Bool {
        try send(bytes)
        return try receive(exactly: bytes.count) == bytes
    }

    func roundTrip(_ text: String) throws -> Bool { try roundTrip(Array(text.utf8)) }
}
