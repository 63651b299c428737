/// A plain UDP socket of a test.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

// @unchecked: one thread after the other uses it.
final class DatagramPeer: @unchecked Sendable {
    private var descriptor: CInt
    /// The destination of sends if the socket is not connected.
    private var target: KernelAddress?
    private var buffer = [UInt8](repeating: 0, count: 70_000)

    /// Connects to the server. `patience` is the time limit of a receive, in seconds.
    init(to address: Address, patience: Int = 20) throws {
        let target = try KernelAddress(address)
        descriptor = try target.makeSocket(Self.type)
        guard target.withKernelForm({ connect(descriptor, $0, $1) }) == 0 else {
            throw SystemFailure("connect")
        }
        try setPatience(patience)
    }

    /// Binds the socket, and does not connect it.
    init(boundTo address: Address, patience: Int = 20) throws {
        descriptor = try KernelAddress(address).bind(Self.type)
        try setPatience(patience)
    }

    private static let type = CInt(SOCK_DGRAM.rawValue)

    var localAddress: Address {
        get throws { try Address(parsing: "udp" + addressText(of: descriptor).dropFirst(3)) }
    }

    /// Sends to a multicast group by a network interface, and receives from any sender.
    init(sendingTo group: Address, by interface: String, patience: Int = 20) throws {
        let target = try KernelAddress(group)
        self.target = target
        descriptor = try target.makeSocket(Self.type)
        var request = ip_mreqn()
        request.imr_ifindex = CInt(bitPattern: if_nametoindex(interface))
        try setSocketOption(descriptor, 0, CInt(IP_MULTICAST_IF), request)
        try setPatience(patience)
    }

    private func setPatience(_ patience: Int) throws {
        let limit = timeval(tv_sec: patience, tv_usec: 0)
        try setSocketOption(descriptor, SOL_SOCKET, SO_RCVTIMEO, limit)
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
        try setSocketOption(descriptor, level, name, value)
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

/// Each peer has one datagram in transit, so that no socket's buffer can overflow, and receives its
/// own datagrams back.
func exchangeRounds(_ peers: [DatagramPeer], rounds: Int, size: Int = 1024) throws {
    for round in 0..<rounds {
        func datagram(_ index: Int) -> [UInt8] {
            Pattern(stream: index).bytes(size, from: round * size)
        }
        for (index, peer) in peers.enumerated() { try peer.send(datagram(index)) }
        for (index, peer) in peers.enumerated() { #expect(try peer.receive() == datagram(index)) }
    }
}
