/// A TCP client of plain system calls, each of which waits at most some seconds.
import Glibc

public final class RawClient {
    private let descriptor: CInt
    private var isOpen = true

    /// Connects to `port` on 127.0.0.1. `receiveBuffer`, in bytes, is the value of SO_RCVBUF, which
    /// the kernel doubles.
    public init(port: UInt16, receiveBuffer: CInt? = nil) throws {
        descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw Failure("socket: \(errno)") }
        if var receiveBuffer {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receiveBuffer, 4)
        }
        let limit = Int(patience / .milliseconds(1))
        setTime(SO_RCVTIMEO, milliseconds: limit)
        setTime(SO_SNDTIMEO, milliseconds: limit)
        var one: CInt = 1
        setsockopt(descriptor, CInt(IPPROTO_TCP), TCP_NODELAY, &one, 4)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw Failure("connect: \(errno)") }
    }

    deinit { close() }

    private func setTime(_ option: CInt, milliseconds: Int) {
        var limit = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
        setsockopt(
            descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    /// Closes the connection. A server that has closed its side waits some time for this.
    public func close() {
        if isOpen { Glibc.close(descriptor) }
        isOpen = false
    }

    public func send(_ text: String) throws { try send(Array(text.utf8)) }

    public func send(_ bytes: [UInt8]) throws {
        var done = 0
        while done < bytes.count {
            let count = bytes[done...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failure("send: \(errno) after \(done) bytes") }
            done += count
        }
    }

    /// Sends `text` repeatedly without reading, until the server accepts no more for 500 ms or has
    /// accepted `most` bytes. Returns the number of bytes sent.
    public func flood(_ text: String, most: Int) -> Int {
        setTime(SO_SNDTIMEO, milliseconds: 500)
        let piece = Array(String(repeating: text, count: 65_536 / text.utf8.count).utf8)
        var sent = 0
        while sent < most {
            // A partial send does no harm, since the client does not read the replies.
            let start = sent % piece.count
            let count = piece[start...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
            }
            guard count > 0 else { break }
            sent += count
        }
        return sent
    }

    public func endSending() { shutdown(descriptor, CInt(SHUT_WR)) }

    /// Returns the next bytes; empty at the end of the stream. Throws after a reset.
    public func receiveSome() throws -> [UInt8] {
        guard let bytes = try receiveSomeUntilReset() else { throw Failure("reset") }
        return bytes
    }

    /// Like `receiveSome()`, but returns nil after a reset.
    public func receiveSomeUntilReset(most: Int = 65_536) throws -> [UInt8]? {
        try receiveAtMost(most)
    }

    /// Returns exactly `count` bytes.
    public func receive(count: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            guard let more = try receiveAtMost(count - bytes.count), !more.isEmpty else {
                throw Failure("the end after \(bytes.count) of \(count) bytes")
            }
            bytes += more
        }
        return bytes
    }

    /// Returns exactly as many bytes as `text` has, as text.
    public func receive(as text: String) throws -> String {
        String(decoding: try receive(count: text.utf8.count), as: UTF8.self)
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
    public func receiveUntilEnd() throws -> String {
        var bytes: [UInt8] = []
        while true {
            let more = try receiveSome()
            if more.isEmpty { return String(decoding: bytes, as: UTF8.self) }
            bytes += more
        }
    }

    private func receiveAtMost(_ most: Int) throws -> [UInt8]? {
        var failure: CInt = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: most) { buffer, count in
            var received: Int
            // With SO_RCVTIMEO an interrupted call is not restarted: signal(7).
            repeat {
                received = recv(descriptor, buffer.baseAddress, most, 0)
            } while received < 0 && errno == EINTR
            if received < 0 { failure = errno }
            count = max(0, received)
        }
        if failure == ECONNRESET { return nil }
        guard failure == 0 else { throw Failure("recv: \(failure)") }
        return bytes
    }
}
