/// A TCP client of plain calls; each waits at most some seconds.
import Glibc

final class RawClient {
    private let descriptor: CInt
    private var isOpen = true

    init(port: UInt16, receiveBuffer: CInt? = nil) throws {
        descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw Failure("socket: \(errno)") }
        if var receiveBuffer {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receiveBuffer, 4)
        }
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
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

    func close() {
        if isOpen { Glibc.close(descriptor) }
        isOpen = false
    }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws {
        var done = 0
        while done < bytes.count {
            let count = bytes[done...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failure("send: \(errno) after \(done) bytes") }
            done += count
        }
    }

    /// Takes what comes next; nothing at the end.
    func receiveSome() throws -> [UInt8] {
        guard let bytes = try receiveSomeUntilReset() else { throw Failure("reset") }
        return bytes
    }

    /// The same; nil if the connection was reset.
    func receiveSomeUntilReset() throws -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        if count < 0, errno == ECONNRESET { return nil }
        guard count >= 0 else { throw Failure("recv: \(errno)") }
        return Array(buffer[..<count])
    }

    /// Exactly as many bytes as `text` has, as text.
    func receive(as text: String) throws -> String {
        var bytes: [UInt8] = []
        while bytes.count < text.utf8.count {
            var buffer = [UInt8](repeating: 0, count: text.utf8.count - bytes.count)
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { throw Failure("\(count) after \(bytes.count) bytes") }
            bytes += buffer[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Everything until the server closes.
    func receiveUntilEnd() throws -> String {
        var bytes: [UInt8] = []
        while true {
            let more = try receiveSome()
            if more.isEmpty { return String(decoding: bytes, as: UTF8.self) }
            bytes += more
        }
    }
}
