/// Tests that gathered datagrams are all sent, also when the kernel refuses one of them.
import Glibc
import Testing

@testable import MillraceEventLoop

@Suite struct DatagramOutboxTests {
    private let sockets = KernelSockets()

    /// The address of the sockets, and an address that no machine has.
    struct Place: Sendable {
        let bound: SocketAddress
        let gone: SocketAddress
    }

    private static let places = [
        Place(
            bound: .v4(IPv4Bytes(UInt32(0x7F00_0001).bigEndian), port: 0),
            gone: .v4(IPv4Bytes(UInt32(0xC000_0201).bigEndian), port: 0)),
        Place(
            bound: .v6(IPv6Bytes(high: 0, low: UInt64(1).bigEndian), port: 0, scope: 0),
            gone: .v6(
                IPv6Bytes(high: UInt64(0x2001_0DB8_0000_0000).bigEndian, low: 1), port: 0,
                scope: 0)),
    ].filter { FamilyProbe.canBind($0.bound) }

    /// The asked address may be removed from the machine before the answer is sent.
    @Test(
        "a datagram is sent without its source address when that address is gone",
        arguments: places, [false, true])
    func aSourceThatIsGoneIsLeftOut(_ place: Place, bundles: Bool) throws {
        let receiver = try sockets.bindDatagrams(on: place.bound, ListenOptions())
        let sender = try sockets.bindDatagrams(on: place.bound, ListenOptions())
        defer {
            sockets.discard(receiver.descriptor)
            sockets.discard(sender.descriptor)
        }
        let outbox = DatagramOutbox(bundles: bundles, hasSources: true)
        let sources = [place.gone, place.bound, place.gone, place.gone]
        for (number, source) in sources.enumerated() {
            let name = try receiver.address.kernelCopy(asking: source)
            defer { name.deallocate() }
            let bytes = [UInt8(number)]
            let isTaken = bytes.withUnsafeBytes {
                outbox.append($0, to: UnsafeRawBufferPointer(name))
            }
            #expect(isTaken)
        }
        let flushed = outbox.flush(sockets, on: sender.descriptor)
        #expect(flushed.sent == 4)
        #expect(flushed.dropped == 0)
        for number in 0..<4 {
            var byte: UInt8 = 255
            try #require(isReadable(receiver.descriptor.number, millisecondsMax: 5_000))
            #expect(recv(receiver.descriptor.number, &byte, 1, 0) == 1)
            #expect(byte == UInt8(number))
        }
    }

    /// Port 0 cannot be sent to, with or without the source.
    @Test("a datagram that fails for another reason is counted as dropped", arguments: places)
    func anotherReasonIsALoss(_ place: Place) throws {
        let sender = try sockets.bindDatagrams(on: place.bound, ListenOptions())
        defer { sockets.discard(sender.descriptor) }
        let outbox = DatagramOutbox(bundles: false, hasSources: true)
        let name = try place.bound.kernelCopy(asking: place.bound)
        defer { name.deallocate() }
        #expect(outbox.append(UnsafeRawBufferPointer(start: nil, count: 0), to: .init(name)))
        let flushed = outbox.flush(sockets, on: sender.descriptor)
        #expect(flushed.sent == 0)
        #expect(flushed.dropped == 1)
    }
}
