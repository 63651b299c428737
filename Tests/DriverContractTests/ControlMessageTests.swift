import CMillraceLinux
import Glibc
import MillraceEventLoop
import Testing

/// Tests of reading a datagram's control messages, in orders and forms that a test cannot get from
/// the kernel.
@Suite struct ControlMessageTests {
    private struct Message {
        let level: CInt
        let type: CInt
        var data: [UInt8]
        /// True for a message truncated like the kernel truncates one that does not fit.
        var isCut = false

        static func parts(_ size: CInt) -> Message {
            Message(level: 17, type: 104, data: withUnsafeBytes(of: size) { Array($0) })
        }

        /// IPv4's form: the interface, the address to answer from, the destination in the
        /// datagram's header.
        static func v4(source: [UInt8], destination: [UInt8]) -> Message {
            Message(level: 0, type: IP_PKTINFO, data: [1, 0, 0, 0] + source + destination)
        }

        static func v6(_ address: [UInt8], interface: UInt8) -> Message {
            Message(level: 41, type: IPV6_PKTINFO, data: address + [interface, 0, 0, 0])
        }

        var bytes: [UInt8] {
            let length = 16 + data.count - (isCut ? 4 : 0)
            var bytes = withUnsafeBytes(of: length) { Array($0) }
            bytes += withUnsafeBytes(of: level) { Array($0) }
            bytes += withUnsafeBytes(of: type) { Array($0) }
            bytes += data
            return bytes + [UInt8](repeating: 0, count: (8 - bytes.count % 8) % 8)
        }
    }

    private let sender = SocketAddress(host: "192.0.2.7", port: 5)!
    private let senderV6 = SocketAddress(host: "2001:db8::7", port: 5)!

    private func read(
        _ messages: [Message], from sender: SocketAddress? = nil
    ) throws -> (asked: SocketAddress?, sender: SocketAddress?, size: CInt) {
        let name = try (sender ?? self.sender).kernelCopy()
        var room = [UInt8](repeating: 0, count: 128)
        room.replaceSubrange(..<name.count, with: name)
        var length = UInt32(name.count)
        name.deallocate()
        let controls = messages.flatMap(\.bytes)
        let size = controls.withUnsafeBytes { controls in
            room.withUnsafeMutableBytes {
                mr_read_controls(controls.baseAddress, controls.count, $0.baseAddress, &length)
            }
        }
        return room.withUnsafeBytes { room in
            let name = UnsafeRawBufferPointer(rebasing: room[..<Int(length)])
            return (
                SocketAddress(askedBehind: name, port: 9), SocketAddress(kernelForm: name), size
            )
        }
    }

    private func v6(_ host: String) -> [UInt8] {
        var address = in6_addr()
        inet_pton(AF_INET6, host, &address)
        return withUnsafeBytes(of: address) { Array($0) }
    }

    private func at(_ host: String) -> SocketAddress? { SocketAddress(host: host, port: 9) }

    @Test("the asked address of an IPv4 datagram is the one that the kernel reports")
    func theSourceOfIPv4IsWhatTheKernelSays() throws {
        let message = Message.v4(source: [127, 0, 0, 2], destination: [127, 255, 255, 255])
        let read = try read([message])
        #expect(read.asked == at("127.0.0.2") && read.sender == sender && read.size == 0)
        let none = try self.read([.v4(source: [0, 0, 0, 0], destination: [127, 0, 0, 1])])
        #expect(none.asked == nil && none.sender == sender)
    }

    @Test("the IPv4 control message has precedence over the IPv6 one for an IPv4 sender")
    func itsOwnFormGoesBeforeIPv6s() throws {
        let mapped = Message.v6(v6("::ffff:10.255.255.255"), interface: 3)
        let own = Message.v4(source: [10, 0, 0, 1], destination: [10, 255, 255, 255])
        let sender = try #require(SocketAddress(host: "::ffff:10.0.0.9", port: 5))
        for order in [[mapped, own], [own, mapped]] {
            let read = try read(order, from: sender)
            #expect(read.asked == at("10.0.0.1"))
            #expect(read.sender?.unmapped == sender.unmapped)
        }
    }

    @Test("a group address or an unspecified address is not used as a source address")
    func groupsAreNoSource() throws {
        for host in ["ff02::1", "ff0e::1", "::ffff:224.0.0.1", "::ffff:255.255.255.255", "::"] {
            let read = try read([.v6(v6(host), interface: 1)], from: senderV6)
            #expect(read.asked == nil && read.sender == senderV6, "\(host)")
        }
    }

    /// For other addresses the interface would override the routing table for the answer.
    @Test("only a link-local address keeps its interface")
    func onlyALinkLocalAddressKeepsItsInterface() throws {
        let local = try read([.v6(v6("fe80::5"), interface: 7)], from: senderV6)
        guard case .v6(_, 9, scope: 7) = local.asked else {
            Issue.record("\(String(describing: local.asked))")
            return
        }
        for host in ["2001:db8::1", "::1", "::ffff:10.0.0.1"] {
            let read = try read([.v6(v6(host), interface: 7)], from: senderV6)
            #expect(read.asked == at(host)?.unmapped, "\(host)")
        }
    }

    @Test("unknown control messages are skipped and the known ones are read")
    func whatOthersAskedForStandsInNobodysWay() throws {
        let strange = Message(level: 1, type: 29, data: [UInt8](repeating: 0xFF, count: 13))
        let source = Message.v4(source: [127, 0, 0, 2], destination: [127, 0, 0, 2])
        let read = try read([strange, .parts(1200), strange, source])
        #expect(read.size == 1200 && read.asked == at("127.0.0.2"))
    }

    @Test("a truncated control message and a negative size are ignored")
    func whatWasCutIsNotRead() throws {
        var source = Message.v4(source: [127, 0, 0, 2], destination: [127, 0, 0, 2])
        source.isCut = true
        var parts = Message.parts(1200)
        parts.isCut = true
        let first = try read([source])
        let second = try read([parts])
        #expect(first.asked == nil && first.sender == sender && second.size == 0)
        let negative = try read([.parts(-1)])
        #expect(negative.size == 0)
    }

    /// The name of another family may be as long as an IP address with the asked address appended.
    @Test("a sender address of another family is read unchanged and without an asked address")
    func anotherFamilysNameIsLeftAlone() throws {
        let sender = SocketAddress.unix(String(repeating: "x", count: 33), abstract: true)
        let source = Message.v4(source: [127, 0, 0, 2], destination: [127, 0, 0, 2])
        let read = try read([source], from: sender)
        #expect(read.asked == nil && read.sender == sender)
    }
}
