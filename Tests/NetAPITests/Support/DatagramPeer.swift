/// A plain UDP socket of a test.
import Glibc
import MillraceTestSupport
import NetAPI

// @unchecked: one thread after the other uses it.
final class DatagramPeer: @unchecked Sendable {
    private var descriptor: CInt
    /// The destination of sends if the socket is not connected.
    private var target: ClientAddress?
    private var buffer = [UInt8](repeating: 0, count: 70_000)

    /// Connects to the server. `patience` is the time limit of a receive, in seconds.
    init(to address: Address, patience: Int = 20) throws {
        let target = try ClientAddress(address)
        descriptor = try Self.makeSocket(target.family)
        guard target.withKernelForm({ connect(descriptor, $0, $1) }) == 0 else {
            throw SystemFailure("connect")
        }
        try setPatience(patience)
    }

    /// Binds the socket, and does not connect it.
    init(boundTo address: Address, patience: Int = 20) throws {
        let own = try ClientAddress(address)
        descriptor = try Self.makeSocket(own.family)
        guard own.withKernelForm({ bind(descriptor, $0, $1) }) == 0 else {
            throw SystemFailure("bind")
        }
        try setPatience(patience)
    }

    private static func makeSocket(_ family: CInt) throws -> CInt {
        let descriptor = socket(family, Int32(SOCK_DGRAM.rawValue), 0)
        guard descriptor >= 0 else { throw SystemFailure("socket") }
        return descriptor
    }

    var localAddress: Address {
        get throws { try Address(parsing: "udp" + addressText(of: descriptor).dropFirst(3)) }
    }

    /// Sends to a multicast group by a network interface, and receives from any sender.
    init(sendingTo group: Address, by interface: String, patience: Int = 20) throws {
        target = try ClientAddress(group)
        descriptor = try Self.makeSocket(AF_INET)
        var request = ip_mreqn()
        request.imr_ifindex = CInt(bitPattern: if_nametoindex(interface))
        let size = socklen_t(MemoryLayout<ip_mreqn>.size)
        guard setsockopt(descriptor, 0, CInt(IP_MULTICAST_IF), &request, size) == 0 else {
            throw SystemFailure("setsockopt")
        }
        try setPatience(patience)
    }

    private func setPatience(_ patience: Int) throws {
        var limit = timeval(tv_sec: patience, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        guard setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size) == 0 else {
            throw SystemFailure("setsockopt")
        }
    }

    deinit { close() }

    func send(_ bytes: [UInt8]) throws {
        let sent = bytes.withUnsafeBytes { bytes in
            guard let target else {
                return Glibc.send(descriptor, bytes.baseAddress, bytes.count, 0)
            }
            return target.withKernelForm {
                sendto(descriptor, bytes.baseAddress, bytes.count, 0, $0, $1)
            }
        }
        guard sent == bytes.count else { throw SystemFailure("send") }
    }

    /// Sends all bytes with one call, in datagrams of `size` bytes; the last may be shorter.
    func send(_ bytes: [UInt8], inDatagramsOf size: CInt) throws {
        try setOption(17, 103, size)
        try send(bytes)
        try setOption(17, 103, 0)
    }

    func setOption(_ level: CInt, _ name: CInt, _ value: CInt) throws {
        var value = value
        let length = socklen_t(MemoryLayout<CInt>.size)
        guard setsockopt(descriptor, level, name, &value, length) == 0 else {
            throw SystemFailure("setsockopt")
        }
    }

    func receive() throws -> [UInt8] {
        var count: Int
        repeat {
            count = recv(descriptor, &buffer, buffer.count, 0)
            // With SO_RCVTIMEO the kernel does not restart the call, and a ring of the same process
            // interrupts it like a signal.
        } while count < 0 && errno == EINTR
        guard count >= 0 else { throw SystemFailure("recv") }
        return Array(buffer[..<count])
    }

    func close() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
    }
}
