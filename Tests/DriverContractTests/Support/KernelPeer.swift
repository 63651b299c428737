import CMillraceLinux
import Glibc
import MillraceEventLoop

/// A plain non-blocking client socket.
final class KernelPeer: TestPeer {
    var readLimit = 0
    private(set) var received: [UInt8] = []
    private(set) var sentCount = 0
    private(set) var sawEndOfStream = false
    private(set) var sawReset = false

    private var descriptor: CInt
    private var outbox: [UInt8] = []
    private var outboxHead = 0
    private var endsWhenSent = false
    private var buffer = [UInt8](repeating: 0, count: 262_144)

    init(connectedTo address: SocketAddress, smallBuffer: Bool) throws {
        let family = if case .unix = address { AF_UNIX } else { AF_INET }
        descriptor = socket(family, CInt(MR_SOCK_STREAM | MR_SOCK_CLOEXEC), 0)
        guard descriptor >= 0 else { throw SystemError(errno, "socket") }
        if smallBuffer {
            // Before connect, which negotiates the window.
            set(SO_RCVBUF, CInt(4096))
        }
        var status = connect(to: address)
        while status != 0 && errno == EINTR { status = connect(to: address) }
        guard status == 0 || errno == EISCONN else {
            let error = SystemError(errno, "connect")
            Glibc.close(descriptor)
            throw error
        }
    }

    deinit { close() }

    private func connect(to address: SocketAddress) -> CInt {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutableBytes(of: &storage) { memory in
            switch address {
            case .v4(let bytes, let port):
                let address = sockaddr_in(
                    sin_family: sa_family_t(AF_INET), sin_port: port.bigEndian,
                    sin_addr: in_addr(s_addr: bytes.word), sin_zero: (0, 0, 0, 0, 0, 0, 0, 0))
                memory.storeBytes(of: address, as: sockaddr_in.self)
            case .unix(let name, abstract: true):
                memory.storeBytes(of: sa_family_t(AF_UNIX), as: sa_family_t.self)
                UnsafeMutableRawBufferPointer(rebasing: memory[3...]).copyBytes(from: name.utf8)
                length = socklen_t(3 + name.utf8.count)
            case .v6, .unix: preconditionFailure("these peers use IPv4 and abstract names")
            }
        }
        return withUnsafePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, length)
            }
        }
    }

    private func set<Value: BitwiseCopyable>(_ option: CInt, _ value: Value) {
        var value = value
        let size = socklen_t(MemoryLayout<Value>.size)
        setsockopt(descriptor, SOL_SOCKET, option, &value, size)
    }

    func send(_ bytes: [UInt8]) {
        outbox += bytes
        flush()
    }

    func shutdownWrite() {
        endsWhenSent = true
        flush()
    }

    func reset() {
        set(SO_LINGER, linger(l_onoff: 1, l_linger: 0))
        close()
    }

    func close() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
    }

    func takeTurn() {
        flush()
        var left = readLimit
        while descriptor >= 0, left > 0, !sawEndOfStream, !sawReset {
            let count = recv(
                descriptor, &buffer, min(left, buffer.count), CInt(MR_MSG_DONTWAIT))
            if count > 0 {
                received += buffer[..<count]
                left -= count
            } else if count == 0 {
                sawEndOfStream = true
            } else if errno != EINTR {
                if errno != EAGAIN { sawReset = true }
                return
            }
        }
    }

    private func flush() {
        while descriptor >= 0, outboxHead < outbox.count {
            let count = outbox.withUnsafeBytes { bytes in
                Glibc.send(
                    descriptor, bytes.baseAddress! + outboxHead, bytes.count - outboxHead,
                    CInt(MR_MSG_DONTWAIT | MR_MSG_NOSIGNAL))
            }
            if count >= 0 {
                outboxHead += count
                sentCount += count
            } else if errno != EINTR {
                if errno != EAGAIN { sawReset = true }
                return
            }
        }
        if endsWhenSent && descriptor >= 0 { shutdown(descriptor, CInt(SHUT_WR)) }
    }
}
