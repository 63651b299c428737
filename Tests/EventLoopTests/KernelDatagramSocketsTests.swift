/// Tests of bound sockets for datagrams: ports that are chosen and shared, and multicast groups.
import Glibc
import Testing

@testable import MillraceEventLoop

@Suite struct KernelDatagramSocketsTests {
    private let sockets = KernelSockets()
    private static let loopback = SocketAddress.v4(
        IPv4Bytes(UInt32(0x7F00_0001).bigEndian), port: 0)
    private static let anyV4 = SocketAddress.v4(IPv4Bytes(0), port: 0)
    private static let anyV6 = SocketAddress.v6(IPv6Bytes(high: 0, low: 0), port: 0, scope: 0)
    private static let hasV6 = FamilyProbe.canBind(anyV6)
    private static let reusePort = ListenOptions(reusePort: true)

    private func withSocket(
        _ address: SocketAddress, _ options: ListenOptions, _ body: (BoundListener) throws -> Void
    ) throws {
        let bound = try sockets.bindDatagrams(on: address, options)
        defer { sockets.discard(bound.descriptor) }
        try body(bound)
    }

    /// The options that let a socket share its port, one at a time.
    private static let sharing: [ListenOptions] = {
        var other = ListenOptions()
        other.reuseAddress = true
        return [reusePort, other]
    }()

    /// The sockets that are held have 300 of about 28,000 ports. A choice among the shared ports
    /// too would meet ten of them.
    @Test(
        "a port that the kernel chooses is never one that another socket shares", arguments: 0..<2)
    func chosenPortsAreNotShared(_ option: Int) throws {
        let options = Self.sharing[option]
        var held: [Descriptor] = []
        var ports: Set<UInt16?> = []
        defer { for descriptor in held { sockets.discard(descriptor) } }
        for _ in 0..<300 {
            let bound = try sockets.bindDatagrams(on: Self.loopback, options)
            held.append(bound.descriptor)
            ports.insert(bound.address.port)
        }
        #expect(ports.count == 300)
        for _ in 0..<1_000 {
            try withSocket(Self.loopback, options) { #expect(!ports.contains($0.address.port)) }
        }
    }

    @Test("further sockets share the chosen port with reusePort, and the kernel uses all of them")
    func aChosenPortIsSharedLater() throws {
        try withSocket(Self.loopback, Self.reusePort) { first in
            #expect(throws: SystemError(EADDRINUSE, "bind")) {
                try sockets.bindDatagrams(on: first.address, ListenOptions())
            }
            try withSocket(first.address, Self.reusePort) { second in
                #expect(second.address == first.address)
                // Sixty-four senders: one socket alone would get all of them once in 2^63 runs.
                for _ in 0..<64 {
                    let sender = try PlainSocket(family: AF_INET, type: CInt(SOCK_DGRAM.rawValue))
                    #expect(try sender.connect(to: first.address) == 0)
                    #expect(send(sender.number, "x", 1, 0) == 1)
                }
                for bound in [first, second] {
                    #expect(isReadable(bound.descriptor.number, millisecondsMax: 10_000))
                }
            }
        }
    }

    /// Two sockets at one port, of which one has joined the group, as of two programs.
    @Test("a socket receives only from groups that it has joined", arguments: [false, true])
    func groupsOfOthersAreNotReceived(isV6: Bool) throws {
        guard Self.hasV6 || !isV6 else { return }
        try withSocket(isV6 ? Self.anyV6 : Self.anyV4, Self.reusePort) { member in
            try withSocket(member.address, Self.reusePort) { other in
                let port = try #require(member.address.port)
                let group = try #require(SocketAddress(host: "239.1.2.5", port: port))
                try sockets.join(group, interface: "lo", on: member.descriptor)
                let sender = try PlainSocket(family: AF_INET, type: CInt(SOCK_DGRAM.rawValue))
                var request = ip_mreqn()
                request.imr_ifindex = CInt(bitPattern: if_nametoindex("lo"))
                try sockets.setValue(
                    request, CInt(IPPROTO_IP), CInt(IP_MULTICAST_IF), on: sender.descriptor)
                #expect(try sender.connect(to: group) == 0)
                var byte: UInt8 = 0
                // When the second one is here, the first one has reached every socket.
                for _ in 0..<2 {
                    #expect(send(sender.number, "x", 1, 0) == 1)
                    #expect(isReadable(member.descriptor.number, millisecondsMax: 10_000))
                    #expect(recv(member.descriptor.number, &byte, 1, 0) == 1)
                }
                #expect(!isReadable(other.descriptor.number))
                try sockets.join(group, interface: "lo", on: other.descriptor)
                #expect(send(sender.number, "x", 1, 0) == 1)
                #expect(isReadable(other.descriptor.number, millisecondsMax: 10_000))
            }
        }
    }

    /// Loopback has no route for groups of IPv6.
    @Test("an IPv6 socket has both options for groups", .enabled(if: hasV6))
    func optionsOfV6() throws {
        try withSocket(Self.anyV6, ListenOptions()) { bound in
            for (level, name) in [(CInt(IPPROTO_IPV6), CInt(29)), (CInt(IPPROTO_IP), CInt(49))] {
                // A kernel before Linux 4.20 lacks the first one.
                let value = try? sockets.option(
                    level: level, name: name, capacity: 4, of: bound.descriptor)
                if let value { #expect(value.allSatisfy { $0 == 0 }) }
            }
        }
    }
}
