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

    // MARK: Each answer of the kernel

    /// A flush of three datagrams, of 1, 2 and 3 bytes.
    struct Row: Sendable, CustomStringConvertible {
        let description: String
        var bundles = false
        var hasSources = false
        let answers: [ScriptedSender.Answer]
        var last: ScriptedSender.Answer?
        let flushed: DatagramOutbox.Flushed
        /// The form and the number of datagrams of each call; not compared if nil.
        var calls: [Call]?
        var callCount = 1
        /// The form of the next flush.
        var next = DatagramForm.plain

        struct Call: Equatable {
            let form: DatagramForm
            let count: Int

            init(_ form: DatagramForm, _ count: Int) {
                self.form = form
                self.count = count
            }
        }
    }

    private static let all = DatagramOutbox.Flushed(bytes: 6, sent: 3)

    private static let rows = [
        Row(
            description: "all are sent", answers: [.sent(3)], flushed: all,
            calls: [.init(.plain, 3)]),
        Row(
            description: "the rest of a short send is sent next", answers: [.sent(2), .sent(1)],
            flushed: all, calls: [.init(.plain, 3), .init(.plain, 1)], callCount: 2),
        Row(
            description: "bundles are counted", bundles: true, answers: [.sent(3, bundles: 1)],
            flushed: .init(bytes: 6, sent: 3, bundles: 1), calls: [.init(.bundled, 3)],
            next: .bundled),
        Row(
            description: "a device that cannot segment gets no bundle again", bundles: true,
            answers: [.error(EIO, refused: 3)],
            flushed: .init(bytes: 6, sent: 3, refusedBundles: 1),
            calls: [.init(.bundled, 3), .init(.plain, 3)], callCount: 2),
        Row(
            description: "a bundle too large for the path is sent one by one", bundles: true,
            answers: [.error(EMSGSIZE, refused: 2)],
            flushed: .init(bytes: 6, sent: 3, refusedBundles: 1),
            calls: [.init(.bundled, 3), .init(.plain, 2), .init(.bundled, 1)], callCount: 3,
            next: .bundled),
        Row(
            description: "an invalid datagram without a source is dropped", bundles: true,
            answers: [.error(EINVAL)], flushed: .init(bytes: 5, sent: 2, dropped: 1),
            calls: [.init(.bundled, 3), .init(.bundled, 2)], callCount: 2, next: .bundled),
        Row(
            description: "an invalid datagram with a source is sent without it", hasSources: true,
            answers: [.error(EINVAL)], flushed: all,
            calls: [.init(.sourced, 3), .init(.sourced, 3)], callCount: 2, next: .sourced),
        Row(
            description: "the error of an earlier datagram drops no later one",
            answers: [.error(ECONNREFUSED)], flushed: all, callCount: 2),
        Row(
            description: "each datagram is tried at most twice", answers: [],
            last: .error(ECONNREFUSED), flushed: .init(dropped: 3), callCount: 6),
        Row(
            description: "a datagram without a route leaves the next ones their second try",
            answers: [.error(ENETUNREACH), .error(ENETUNREACH), .error(ECONNREFUSED)],
            flushed: .init(bytes: 5, sent: 2, dropped: 1), callCount: 4),
        Row(
            description: "a network that stays unreachable is tried without the source",
            hasSources: true, answers: [.error(ENETUNREACH), .error(ENETUNREACH)], flushed: all,
            callCount: 3, next: .sourced),
        Row(
            description: "a full queue of the socket drops the rest",
            answers: [.sent(1), .error(EAGAIN)],
            flushed: .init(bytes: 1, sent: 1, dropped: 2), callCount: 2),
        Row(
            description: "a full queue of the device drops the rest",
            answers: [.sent(1), .error(ENOBUFS)],
            flushed: .init(bytes: 1, sent: 1, dropped: 2), callCount: 2),
        Row(
            description: "a firewall's refusal drops one", answers: [.error(EPERM)],
            flushed: .init(bytes: 5, sent: 2, dropped: 1), callCount: 2),
    ]

    @Test("each answer of the kernel has its result, and leaves an empty outbox", arguments: rows)
    func answers(_ row: Row) throws {
        let outbox = DatagramOutbox(bundles: row.bundles, hasSources: row.hasSources)
        let sender = ScriptedSender(row.answers, then: row.last)
        let (name, plainCount) = try nameWithSource()
        defer { name.deallocate() }
        let used = row.hasSources ? name[...] : name[..<plainCount]
        append([[1], [2, 2], [3, 3, 3]], to: UnsafeRawBufferPointer(rebasing: used), outbox)
        let descriptor = Descriptor(7)
        #expect(outbox.flush(sender, on: descriptor) == row.flushed)
        let calls = sender.takeCalls()
        #expect(calls.count == row.callCount)
        #expect(calls.allSatisfy { $0.descriptor == descriptor })
        if let expected = row.calls {
            #expect(calls.map { Row.Call($0.form, $0.datagrams.count) } == expected)
        }
        // Only the last call has no source: it follows the refusal that concerns the source.
        let names = calls.map { $0.datagrams.first?.name.count }
        #expect(names.last == plainCount)
        #expect(names.dropLast().allSatisfy { $0 == used.count })

        #expect(outbox.isEmpty)
        append(Array(repeating: [1], count: 64), to: UnsafeRawBufferPointer(name), outbox)
        #expect(!outbox.append(UnsafeRawBufferPointer(name), to: UnsafeRawBufferPointer(name)))
        let working = ScriptedSender()
        #expect(outbox.flush(working, on: descriptor).sent == 64)
        #expect(working.takeCalls().map(\.form) == [row.next])
    }

    /// Returns a name that is followed by a source, and the number of its bytes without that.
    private func nameWithSource() throws -> (UnsafeMutableRawBufferPointer, Int) {
        let address = SocketAddress.v4(IPv4Bytes(UInt32(0x7F00_0001).bigEndian), port: 9)
        let name = try address.kernelCopy(asking: address)
        return (name, name.count - AskedAddress.size)
    }

    private func append(
        _ datagrams: [[UInt8]], to name: UnsafeRawBufferPointer, _ outbox: DatagramOutbox
    ) {
        for bytes in datagrams {
            #expect(bytes.withUnsafeBytes { outbox.append($0, to: name) })
        }
    }
}
