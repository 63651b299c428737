/// Tests of `DatagramSocket.send` from other threads: its result, and the counters.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct DatagramSendingTests {
    /// Returns the socket when the handler has stored one.
    private func learnSocket(
        of server: Server, _ known: Shared<DatagramSocket?>
    ) throws -> DatagramSocket {
        try DatagramPeer(to: server.boundAddresses[0]).send([0])
        try eventually("its socket is known") { known.value != nil }
        return try #require(known.value)
    }

    private func handler(_ known: Shared<DatagramSocket?>, _ hold: Gate? = nil)
        -> DatagramTestHandler
    {
        DatagramTestHandler { datagram in
            if known.value != nil { hold?.wait() }
            known.value = datagram.socket
            return .none
        }
    }

    @Test("the queue of datagrams for a busy loop is limited to 4 MiB", arguments: Setup.all)
    func whatWaitsForABusyLoopIsBounded(_ setup: Setup) throws {
        let (known, gate) = (Shared<DatagramSocket?>(nil), Gate())
        try withDatagramServer(setup, handler(known, gate)) { server in
            defer { gate.open() }
            let socket = try learnSocket(of: server, known)
            let receiver = try DatagramPeer(to: server.boundAddresses[0])
            // Blocks the loop.
            try receiver.send([1])
            try eventually("the loop is held") { server.statistics.datagramsIn == 2 }
            let bytes = [UInt8](repeating: 1, count: 60_000)
            let (nobody, refused) = (Address.udp("127.0.0.1", port: 9), server.statistics)
            let taken = (0..<200).filter { _ in socket.send(bytes, to: nobody) }.count
            // 4 MiB, and 64 bytes more for each message.
            #expect(taken == (4 << 20) / 60_064)
            #expect(server.statistics.datagramDrops - refused.datagramDrops == 200 - taken)
            #expect(server.statistics.refusedPosts == refused.refusedPosts)
            gate.open()
            try eventually("there is room again") { socket.send([1], to: nobody) }
        }
    }

    @Test("each datagram sent to a full mailbox counts as one drop", arguments: Setup.single)
    func aFullMailboxIsOneDropForEach(_ setup: Setup) throws {
        let (known, gate) = (Shared<DatagramSocket?>(nil), Gate())
        try withDatagramServer(setup, handler(known, gate)) { server in
            defer { gate.open() }
            let socket = try learnSocket(of: server, known)
            try DatagramPeer(to: server.boundAddresses[0]).send([1])
            try eventually("the loop is held") { server.statistics.datagramsIn == 2 }
            let nobody = Address.udp("127.0.0.1", port: 9)
            // 65,536 messages: an empty one counts for 64 bytes, so the byte limit is reached at
            // the same number.
            let taken = (0..<66_000).filter { _ in socket.send([UInt8](), to: nobody) }.count
            #expect(taken == 65_536)
            #expect(server.statistics.datagramDrops == 66_000 - taken)
            #expect(server.statistics.refusedPosts == 0)
            gate.open()
        }
    }

    @Test(
        "a send to an address that is not UDP and a send after the stop count as drops",
        arguments: Setup.single)
    func noAddressAndNoLoopAreDrops(_ setup: Setup) throws {
        let known = Shared<DatagramSocket?>(nil)
        let server = try Server(
            handler(known), listen: "udp://127.0.0.1:0", options: setup.options())
        try serve(server) { _ in
            let socket = try learnSocket(of: server, known)
            #expect(!socket.send([1], to: "tcp://127.0.0.1:9"))
            #expect(server.statistics.datagramDrops == 1)
        }
        let socket = try #require(known.value)
        #expect(!socket.send([1], to: "udp://127.0.0.1:9"))
        #expect(server.statistics.datagramDrops == 2)
    }

    /// Several threads count drops at once, and none is lost.
    @Test(
        "the drop counter includes every drop of several concurrent threads",
        arguments: Setup.single)
    func noDropOfSeveralThreadsIsLost(_ setup: Setup) throws {
        let known = Shared<DatagramSocket?>(nil)
        try withDatagramServer(setup, handler(known)) { server in
            let socket = try learnSocket(of: server, known)
            let workers = (0..<4).map { _ in
                Worker {
                    for _ in 0..<50_000 { socket.send([1], to: "unix:///nowhere") }
                }
            }
            for worker in workers { try worker.join("sending") }
            #expect(server.statistics.datagramDrops == 200_000)
        }
    }

    @Test(
        "the sockets of a server send before they receive, and are those of its datagrams",
        arguments: Setup.all, [false, true])
    func theSocketsOfAServer(_ setup: Setup, reusePort: Bool) throws {
        let seen = Shared<Set<DatagramSocket>>([])
        let handler = DatagramTestHandler { datagram in
            seen.update { [socket = datagram.socket] in _ = $0.insert(socket) }
            datagram.reply("seen")
            return .none
        }
        let server = try Server(
            handler, listen: anyPort, "udp://127.0.0.1:0", "udp://127.0.0.1:0",
            options: setup.options { $0.reusePort = reusePort })
        #expect(server.datagramSockets.isEmpty)
        try serve(server) { server in
            let sockets = server.server.datagramSockets
            let each = reusePort ? setup.loops : 1
            let places = server.addresses[1...].flatMap { Array(repeating: $0, count: each) }
            #expect(sockets.map(\.localAddress) == places)
            #expect(Set(sockets).count == sockets.count)
            let peer = try DatagramPeer(boundTo: "udp://127.0.0.1:0")
            for (place, socket) in sockets.enumerated() {
                let isTaken = socket.send([UInt8(place)], to: try peer.localAddress)
                #expect(isTaken)
                #expect(try peer.receive() == [UInt8(place)])
            }
            for address in server.addresses[1...] {
                let peer = try DatagramPeer(to: address)
                try peer.send([1])
                #expect(try peer.receive() == Array("seen".utf8))
            }
            #expect(seen.value.count == 2 && seen.value.isSubset(of: sockets))
            try server.server.stopListening(on: server.addresses[1])
            #expect(server.server.datagramSockets == Array(sockets[each...]))
        }
    }
}
