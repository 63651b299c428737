/// The clients of the example servers: plain streams that carry text.
import Glibc

extension StreamSocket {
    /// Connects to `port` on 127.0.0.1. `receiveBuffer`, in bytes, is the value of SO_RCVBUF, which
    /// the kernel doubles.
    public convenience init(port: UInt16, receiveBuffer: CInt? = nil) throws {
        try self.init(to: KernelAddress("tcp://127.0.0.1:\(port)"), receiveBuffer: receiveBuffer)
    }

    /// Sends `text` repeatedly without reading, until the server accepts no more for 500 ms or has
    /// accepted `most` bytes. Returns the number of bytes sent.
    public func flood(_ text: String, most: Int) throws -> Int {
        let piece = Array(String(repeating: text, count: 65_536 / text.utf8.count).utf8)
        var sent = 0
        while sent < most {
            let count = try push(piece, untilQuietFor: .milliseconds(500))
            sent += count
            if count < piece.count { break }
        }
        return sent
    }

    /// Waits for the next bytes; they are empty at the end of the stream. Throws after a reset.
    public func receiveSome() throws -> [UInt8] {
        guard let bytes = try receiveSomeUntilReset() else { throw Failure("reset") }
        return bytes
    }

    /// Like `receiveSome()`, but returns nil after a reset.
    public func receiveSomeUntilReset(most: Int = 65_536) throws -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: most)
        let deadline = Deadline()
        while true {
            switch try buffer.withUnsafeMutableBytes({ try receiveSome($0) }) {
            case .bytes(let count): return Array(buffer[..<count])
            case .nothingYet: try wait(for: POLLIN, deadline, "some bytes")
            case .end(let end): return end.isReset ? nil : []
            }
        }
    }

    /// Returns exactly as many bytes as `text` has, as text.
    public func receive(as text: String) throws -> String {
        try receiveText(exactly: text.utf8.count)
    }

    /// Returns all text up to `end`, which must be the last text that the server sends for now.
    public func receive(until end: String) throws -> String {
        var bytes: [UInt8] = []
        while !bytes.suffix(end.utf8.count).elementsEqual(end.utf8) {
            let more = try receiveSome()
            guard !more.isEmpty else {
                throw Failure("the end after \(String(decoding: bytes, as: UTF8.self))")
            }
            bytes += more
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Returns all text until the server closes.
    public func receiveAll() throws -> String {
        let (text, end) = try receiveTextUntilEnd()
        if end.isReset { throw Failure("reset") }
        return text
    }
}
