/// Sends and receives with their checks.
import Glibc
import MillraceTestSupport

extension StreamSocket {
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

    /// Sends one byte per segment, like the slowest of peers.
    func drip(_ bytes: [UInt8], every gap: Duration = .microseconds(300)) throws {
        for byte in bytes {
            try send([byte])
            pause(gap)
        }
    }

    /// Sends until the server has closed, which makes a send fail.
    func sendUntilRefused() throws {
        let deadline = Deadline()
        while true {
            try deadline.check("an error from send")
            try send([UInt8](repeating: 1, count: 10_000))
        }
    }
}
