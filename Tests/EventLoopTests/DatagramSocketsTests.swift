/// Tests of the datagram sockets of a loop: gathering, flushing and closing, without a loop.
import Testing

@testable import MillraceEventLoop

@Suite struct DatagramSocketsTests {
    /// Listener 0 is of streams, 1 of datagrams to one address, 2 of datagrams to every address.
    private static let listeners = [
        BoundListener(descriptor: Descriptor(10), address: .v4(IPv4Bytes(1), port: 1)),
        BoundListener(
            descriptor: Descriptor(11), address: .v4(IPv4Bytes(1), port: 2), isDatagram: true),
        BoundListener(
            descriptor: Descriptor(12), address: .v4(IPv4Bytes(0), port: 3), isDatagram: true),
    ]
    private static let name = [UInt8](repeating: 7, count: 16)

    /// Holds the sockets, which cannot be copied, and passes lent memory to them.
    private final class Holder {
        var sockets: DatagramSockets
        let sender = ScriptedSender()

        init(bundles: Bool = false) {
            sockets = DatagramSockets(DatagramSocketsTests.listeners, bundles: bundles)
        }

        var hasUnsent: Bool { sockets.hasUnsent }

        func isOpen(_ index: Int) -> Bool { sockets.isOpen(index) }

        func descriptor(_ index: Int) -> Descriptor? { sockets.descriptor(index) }

        func close(_ index: Int) { sockets.close(index) }

        func flush() -> DatagramOutbox.Flushed { sockets.flush(sender) }

        func append(_ bytes: [UInt8], _ index: Int) -> Bool {
            bytes.withUnsafeBytes { bytes in
                DatagramSocketsTests.name.withUnsafeBytes {
                    sockets.append(bytes, to: $0, socket: index)
                }
            }
        }

        func appendFurther(_ bytes: [UInt8], _ index: Int) -> DatagramOutbox.Flushed {
            bytes.withUnsafeBytes { bytes in
                DatagramSocketsTests.name.withUnsafeBytes {
                    sockets.appendFurther(bytes, to: $0, socket: index, sender)
                }
            }
        }
    }

    private static let nothing = DatagramOutbox.Flushed()

    @Test("only datagram sockets are open, and only an open one has a descriptor")
    func onlyDatagramSocketsAreOpen() {
        let holder = Holder()
        #expect((-1...3).map(holder.isOpen) == [false, false, true, true, false])
        let descriptors = (-1...3).map(holder.descriptor)
        #expect(descriptors == [nil, nil, Descriptor(11), Descriptor(12), nil])
    }

    @Test("a socket's first datagram makes the outbox, which then holds 64")
    func sixtyFourAreGathered() {
        let holder = Holder()
        #expect(!holder.append([1], 1))
        #expect(!holder.hasUnsent)
        #expect(holder.appendFurther([1], 1) == Self.nothing)
        #expect(holder.hasUnsent)
        for _ in 1..<64 { #expect(holder.append([1], 1)) }
        #expect(holder.sender.takeCalls().isEmpty)

        #expect(!holder.append([2], 1))
        #expect(holder.appendFurther([2], 1) == .init(bytes: 64, sent: 64))
        #expect(holder.sender.takeCalls().map(\.datagrams.count) == [64])
        #expect(holder.flush() == .init(bytes: 1, sent: 1))
        #expect(holder.sender.takeCalls().map { $0.datagrams.map(\.bytes) } == [[[2]]])
    }

    @Test("the fifth of the largest datagrams waits for the flush of four")
    func memoryIsBounded() {
        let holder = Holder()
        let largest = [UInt8](repeating: 1, count: 65_507)
        #expect(holder.appendFurther(largest, 1) == Self.nothing)
        for _ in 1..<4 { #expect(holder.append(largest, 1)) }
        #expect(!holder.append(largest, 1))
        #expect(holder.appendFurther(largest, 1) == .init(bytes: 4 * 65_507, sent: 4))
        #expect(holder.flush() == .init(bytes: 65_507, sent: 1))
    }

    @Test("a datagram larger than an empty outbox is a drop, and those before it are sent")
    func tooLarge() {
        let holder = Holder()
        let large = [UInt8](repeating: 1, count: DatagramOutbox.capacity)
        #expect(holder.appendFurther(large, 1) == .init(dropped: 1))
        #expect(holder.flush() == Self.nothing)
        #expect(holder.appendFurther([1], 1) == Self.nothing)
        #expect(holder.appendFurther(large, 1) == .init(bytes: 1, sent: 1, dropped: 1))
        #expect(holder.flush() == Self.nothing)
        #expect(holder.sender.takeCalls().map(\.datagrams.count) == [1])
    }

    @Test("a datagram for a socket that is not open is ignored", arguments: [-1, 0, 3])
    func notOpen(_ index: Int) {
        let holder = Holder()
        #expect(holder.appendFurther([1], index) == Self.nothing)
        #expect(!holder.hasUnsent)
        #expect(holder.flush() == Self.nothing)
        #expect(holder.sender.takeCalls().isEmpty)
    }

    @Test("a flush sends on every socket once, and adds up the results")
    func flushesAll() {
        let holder = Holder()
        _ = holder.appendFurther([1], 1)
        #expect(holder.append([], 1))
        _ = holder.appendFurther([3, 3], 2)
        #expect(holder.flush() == .init(bytes: 3, sent: 3))
        #expect(!holder.hasUnsent)
        let calls = holder.sender.takeCalls()
        #expect(calls.map(\.descriptor) == [Descriptor(11), Descriptor(12)])
        #expect(calls.map { $0.datagrams.map(\.bytes) } == [[[1], []], [[3, 3]]])
        #expect(calls.joinedNames.allSatisfy { $0 == Self.name })
        #expect(holder.flush() == Self.nothing)
        #expect(holder.sender.takeCalls().isEmpty)
    }

    @Test("only a socket bound to every address sends from sources", arguments: [false, true])
    func forms(bundles: Bool) {
        let holder = Holder(bundles: bundles)
        _ = holder.appendFurther([1], 1)
        _ = holder.appendFurther([1], 2)
        _ = holder.flush()
        let forms = holder.sender.takeCalls().map(\.form)
        #expect(forms == (bundles ? [.bundled, .bundled] : [.plain, .sourced]))
    }

    @Test("the datagrams of a closed socket are dropped, and later ones are ignored")
    func closed() {
        let holder = Holder()
        _ = holder.appendFurther([1], 1)
        _ = holder.appendFurther([2], 2)
        for index in [1, 1, 0, -1, 9] { holder.close(index) }
        #expect(!holder.append([1], 1))
        #expect(holder.appendFurther([1], 1) == Self.nothing)
        #expect(!holder.isOpen(1) && holder.isOpen(2))
        #expect(holder.descriptor(1) == nil)
        #expect(holder.flush() == .init(bytes: 1, sent: 1))
        #expect(holder.sender.takeCalls().map(\.descriptor) == [Descriptor(12)])
    }

    @Test("bytes and names are copied, so the caller may change its memory")
    func copies() {
        let holder = Holder()
        var (bytes, name): ([UInt8], [UInt8]) = ([1, 2], [3, 4])
        bytes.withUnsafeMutableBytes { bytes in
            name.withUnsafeMutableBytes { name in
                _ = holder.sockets.appendFurther(
                    UnsafeRawBufferPointer(bytes), to: UnsafeRawBufferPointer(name), socket: 1,
                    holder.sender)
                bytes[0] = 9
                name[0] = 9
            }
        }
        _ = holder.flush()
        let sent = holder.sender.takeCalls().flatMap(\.datagrams)
        #expect(sent == [ScriptedSender.Datagram(bytes: [1, 2], name: [3, 4])])
    }
}

extension [ScriptedSender.Call] {
    fileprivate var joinedNames: [[UInt8]] { flatMap { $0.datagrams.map(\.name) } }
}
