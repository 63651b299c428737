/// Tests of many datagrams in one piece between the kernel and a loop: handlers and peers see them
/// as they were sent.
import CMillraceLinux
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct DatagramOffloadTests {
    struct Offload: Sendable, CustomTestStringConvertible {
        let receives: Bool
        let sends: Bool

        static let all = [(false, false), (true, false), (false, true), (true, true)].map {
            Offload(receives: $0, sends: $1)
        }

        var testDescription: String { "receives \(receives), sends \(sends)" }

        func options(_ setup: Setup) -> Options {
            setup.options {
                $0.udp.receiveOffload = receives
                $0.udp.segmentationOffload = sends
            }
        }
    }

    /// Sixty-four datagrams: 63 of 1,200 bytes and one of 700.
    private static let sizes = Array(repeating: 1200, count: 63) + [700]
    private static let pattern = Pattern(stream: 7)

    private func peer(to server: Server) throws -> DatagramPeer {
        let peer = try DatagramPeer(to: server.boundAddresses[0])
        // The kernel counts far more than the bytes of each datagram.
        try peer.setOption(SOL_SOCKET, SO_RCVBUF, 1 << 20)
        return peer
    }

    private func expectAll(from peer: DatagramPeer, _ sizes: [Int] = Self.sizes) throws {
        var position = 0
        for size in sizes {
            let bytes = try peer.receive()
            #expect(bytes.count == size)
            try Self.pattern.verify(bytes, at: position)
            position += size
        }
    }

    @Test(
        "64 datagrams arrive and return with their sizes and their order unchanged",
        arguments: Setup.all, Offload.all)
    func sixtyFourComeAndGoAsTheyWereSent(_ setup: Setup, _ offload: Offload) throws {
        let seen = Shared<[Int]>([])
        let handler = DatagramTestHandler { datagram in
            seen.update { [count = datagram.bytes.byteCount] in $0.append(count) }
            let isWhole = !datagram.isTruncated
            #expect(isWhole)
            datagram.reply(datagram.bytes)
            return .none
        }
        try withDatagramServer(setup, handler, options: offload.options(setup)) { server in
            let peer = try peer(to: server)
            // An IPv4 message holds at most 65,507 bytes.
            let cut = 40 * 1200
            let bytes = Self.pattern.bytes(Self.sizes.reduce(0, +))
            try peer.send(Array(bytes[..<cut]), inDatagramsOf: 1200)
            try peer.send(Array(bytes[cut...]), inDatagramsOf: 1200)
            try expectAll(from: peer)
            #expect(seen.value == Self.sizes)
            let counted = server.statistics
            #expect(counted.datagramsIn == 64 && counted.bytesIn == bytes.count)
            #expect((counted.coalescedReceives > 0) == offload.receives, "\(counted)")
            try eventually("all are counted") { server.statistics.datagramsOut == 64 }
            #expect(server.statistics.bytesOut == bytes.count)
            #expect(counted.datagramDrops == 0 && counted.segmentationFallBacks == 0)
        }
    }

    /// Answers one datagram with 64.
    private let burst = DatagramTestHandler { datagram in
        var position = 0
        for size in Self.sizes {
            datagram.reply(Self.pattern.bytes(size, from: position))
            position += size
        }
        return .none
    }

    @Test(
        "segmentation sends a burst of 64 datagrams as two messages",
        arguments: Setup.all, Offload.all)
    func aBurstIsTwoMessagesInsteadOfSixtyFour(_ setup: Setup, _ offload: Offload) throws {
        try withDatagramServer(setup, burst, options: offload.options(setup)) { server in
            let peer = try peer(to: server)
            try peer.send([1])
            try expectAll(from: peer)
            try eventually("all are counted") { server.statistics.datagramsOut == 64 }
            #expect(server.statistics.segmentedSends == (offload.sends ? 2 : 0))
            #expect(server.statistics.segmentationFallBacks == 0)
            #expect(server.statistics.bytesOut == Self.sizes.reduce(0, +))
        }
    }

    /// Another size, another receiver or an empty datagram ends a message, and the order is kept.
    @Test("datagrams that cannot share a message are sent in order", arguments: Setup.all)
    func whatDoesNotFitTogetherGoesInOrder(_ setup: Setup) throws {
        let sizes = [
            100, 100, 100, 50, 100, 0, 0, 200, 100, 100, 1, 65_507, 30_000, 30_000, 30_000,
        ]
        let others = Shared<[Address]>([])
        let handler = DatagramTestHandler { datagram in
            guard datagram.bytes.byteCount > 0 else {
                others.update { [from = datagram.remoteAddress] in $0.append(from) }
                return .none
            }
            var position = 0
            for size in sizes {
                let bytes = Self.pattern.bytes(size, from: position)
                datagram.reply(bytes)
                for other in others.value { datagram.socket.send(bytes, to: other) }
                position += size
            }
            return .none
        }
        let options = Offload(receives: true, sends: true).options(setup)
        try withDatagramServer(setup, handler, options: options) { server in
            let alone = try peer(to: server)
            try alone.send([1])
            try expectAll(from: alone, sizes)
            try eventually("some went together") { server.statistics.segmentedSends > 0 }
            let other = try peer(to: server)
            try other.send([])
            try eventually("it is known") { !others.value.isEmpty }
            try alone.send([1])
            try expectAll(from: alone, sizes)
            try expectAll(from: other, sizes)
            #expect(server.statistics.datagramDrops == 0)
        }
    }

    @Test(
        "messages that the kernel does not segment are sent datagram by datagram and counted",
        arguments: Setup.all)
    func whatTheKernelRefusesToCutGoesOneByOneAndIsCounted(_ setup: Setup) throws {
        let options = Offload(receives: false, sends: true).options(setup)
        try withDatagramServer(setup, burst, options: options) { server in
            // Without checksums the kernel cannot segment a message.
            let port = try #require(server.boundAddresses[0].port)
            var (isOn, found) = (CInt(1), 0)
            for number in CInt(3)..<1024 where try localPort(number) == port {
                let size = socklen_t(MemoryLayout<CInt>.size)
                found += setsockopt(number, SOL_SOCKET, SO_NO_CHECK, &isOn, size) == 0 ? 1 : 0
            }
            #expect(found == 1)
            let peer = try peer(to: server)
            for round in 1...3 {
                try peer.send([1])
                try expectAll(from: peer)
                try eventually("all are counted") {
                    server.statistics.datagramsOut == 64 * round
                }
            }
            #expect(server.statistics.segmentationFallBacks == 6)
            #expect(server.statistics.segmentedSends == 0)
            #expect(server.statistics.datagramDrops == 0)
        }
    }

    /// The local port of a UDP socket on IPv4; nil for any other descriptor.
    private func localPort(_ descriptor: CInt) throws -> UInt16? {
        guard (try? socketOption(descriptor, SOL_SOCKET, SO_TYPE, 0)) == CInt(MR_SOCK_DGRAM),
            let text = try? addressText(of: descriptor)
        else { return nil }
        return text.split(separator: ":").last.flatMap { UInt16($0) }
    }

    @Test(
        "a connected socket delivers the datagrams of a burst one by one",
        arguments: Setup.all, Offload.all)
    func aConnectedSocketTakesThemOneByOne(_ setup: Setup, _ offload: Offload) throws {
        try withDatagramServer(setup, burst, options: offload.options(setup)) { server in
            let seen = Shared<[[UInt8]]>([])
            let handler = TestHandler(
                open: { connection in
                    try connection.set(.receiveBuffer(1 << 20))
                    connection.write("go")
                    return .none
                },
                traffic: { connection in
                    let bytes = connection.readArray()
                    seen.update { $0.append(bytes) }
                    return .none
                })
            let client = try Client(handler, options: offload.options(setup))
            try client.start()
            client.connect(to: server.boundAddresses[0]) { _ in }
            try eventually("all came") { seen.value.count == 64 }
            #expect(seen.value.map(\.count) == Self.sizes)
            try Self.pattern.verify(Array(seen.value.joined()))
            let isTogether = offload.receives && offload.sends
            #expect((client.statistics.coalescedReceives > 0) == isTogether)
            try bounded("stop") { client.stop() }
        }
    }
}
