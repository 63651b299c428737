/// A plain UDP socket of a test, connected to the server.
import Glibc
import NetAPI

final class DatagramPeer {
    private var descriptor: CInt
    private var buffer = [UInt8](repeating: 0, count: 70_000)

    /// `patience` in seconds: how long a receive waits.
    init(to address: Address, patience: Int = 20) throws {
        let target = try ClientAddress(address)
        descriptor = socket(target.family, Int32(SOCK_DGRAM.rawValue), 0)
        guard descriptor >= 0 else { throw SystemFailure("socket") }
        guard target.withKernelForm({ connect(descriptor, $0, $1) }) == 0 else {
            throw SystemFailure("connect")
        }
        var limit = timeval(tv_sec: patience, tv_usec: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close() }

    func send(_ bytes: [UInt8]) throws {
        let sent = bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, 0) }
        guard sent == bytes.count else { throw SystemFailure("send") }
    }

    func receive() throws -> [UInt8] {
        let count = recv(descriptor, &buffer, buffer.count, 0)
        guard count >= 0 else { throw SystemFailure("recv") }
        return Array(buffer[..<count])
    }

    func close() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
    }
}
