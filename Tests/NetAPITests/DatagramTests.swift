/// Tests of UDP by `onDatagram`: every size, empty datagrams, other receivers, and errors of
/// earlier datagrams.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct DatagramTests {
    @Test("a datagram of each tested size returns unchanged to its sender", arguments: Setup.all)
    func everySizeComesBackToItsSender(_ setup: Setup) throws {
        try withDatagramServer(setup) { server in
            let peer = try DatagramPeer(to: server.boundAddresses[0])
            for size in [0, 1, 512, 1472, 9000, 65_507, 0, 3] {
                let bytes = Pattern(stream: 1).bytes(size)
                try peer.send(bytes)
                #expect(try peer.receive() == bytes, "\(size) bytes")
            }
        }
    }

    /// An empty datagram must not end receiving on the socket.
    @Test("an empty datagram does not end receiving on the socket", arguments: Setup.all)
    func emptyDatagramsDoNotEndAnything(_ setup: Setup) throws {
        try withDatagramServer(setup) { server in
            let peer = try DatagramPeer(to: server.boundAddresses[0])
            for round in 0..<50 {
                try peer.send([])
                try peer.send([UInt8(round)])
                #expect(try peer.receive() == [])
                #expect(try peer.receive() == [UInt8(round)])
            }
        }
    }

    @Test("each peer receives only the answers to its own datagrams", arguments: Setup.all)
    func sendersAreKeptApart(_ setup: Setup) throws {
        try withDatagramServer(setup) { server in
            let peers = try (0..<8).map { _ in try DatagramPeer(to: server.boundAddresses[0]) }
            try exchangeRounds(peers, rounds: 20)
        }
    }

    /// An answer without a receiver comes back as an error of the socket.
    @Test("a closed peer does not disturb the answers to other peers", arguments: Setup.all)
    func aPeerThatIsGoneDisturbsNobody(_ setup: Setup) throws {
        try withDatagramServer(setup) { server in
            // Bound before the others, so that it cannot be assigned the port of a closed peer
            // whose answer is late.
            let peer = try DatagramPeer(to: server.boundAddresses[0])
            for _ in 0..<20 {
                let leaver = try DatagramPeer(to: server.boundAddresses[0])
                try leaver.send([1])
                leaver.close()
            }
            for round in 0..<20 {
                try peer.send([UInt8(round)])
                #expect(try peer.receive() == [UInt8(round)])
            }
        }
    }

    @Test(
        "a datagram socket sends to all peers from its callback and from another thread",
        arguments: Setup.all)
    func othersCanBeSentToFromAnyThread(_ setup: Setup) throws {
        let socket = Shared<DatagramSocket?>(nil)
        let addresses = Shared<[Address]>([])
        let handler = DatagramTestHandler { datagram in
            socket.value = datagram.socket
            addresses.update { $0.append(datagram.remoteAddress) }
            for address in addresses.value { datagram.socket.send([7], to: address) }
            return .none
        }
        try withDatagramServer(setup, handler) { server in
            let peers = try (0..<10).map { _ in try DatagramPeer(to: server.boundAddresses[0]) }
            for (index, peer) in peers.enumerated() {
                try peer.send([0])
                for known in peers[...index] { #expect(try known.receive() == [7]) }
            }
            for address in addresses.value { socket.value?.send([9], to: address) }
            for peer in peers { #expect(try peer.receive() == [9]) }
        }
    }

    /// By then its descriptor may belong to another file.
    @Test("a datagram socket that the stop has closed sends nothing", arguments: Setup.single)
    func aSocketThatTheStopHasClosedSendsNothing(_ setup: Setup) throws {
        struct Handler: EventHandler, DatagramHandler {
            let known = Shared<(socket: DatagramSocket, peer: Address)?>(nil)

            func onDatagram(_ datagram: Datagram) -> Action {
                known.update { [socket = datagram.socket, peer = datagram.remoteAddress] in
                    $0 = (socket, peer)
                }
                datagram.reply("known")
                return .none
            }

            func onTraffic(_ connection: Connection) -> Action {
                connection.isBusy = true
                if let (socket, peer) = known.value { socket.send([9], to: peer) }
                connection.write(connection.next())
                return .none
            }
        }
        let server = try Server(
            Handler(), listen: "tcp://127.0.0.1:0", "udp://127.0.0.1:0", options: setup.options())
        try server.start()
        let client = try TestClient(to: server.boundAddresses[0])
        let peer = try DatagramPeer(to: server.boundAddresses[1])
        try peer.send([1])
        #expect(try peer.receive() == Array("known".utf8))
        #expect(try client.roundTrip("still open"))
        #expect(try peer.receive() == [9])
        let stop = Worker { server.stop(within: .seconds(4)) }
        try eventually("its socket is closed") { (try? peer.send([2])) == nil }
        let sent = server.statistics.datagramsOut
        #expect(try client.roundTrip("busy"))
        client.close()
        try stop.join("stopping")
        #expect(server.statistics.datagramsOut == sent)
        #expect(server.statistics.datagramDrops == 0)
    }

    @Test("a datagram handler that returns shutdown still sends its reply", arguments: Setup.all)
    func aShutdownStillAnswers(_ setup: Setup) throws {
        let handler = DatagramTestHandler { datagram in
            datagram.reply("bye")
            return .shutdown
        }
        let server = try Server(
            handler, listen: "udp://127.0.0.1:0", options: setup.options())
        try server.start()
        let peer = try DatagramPeer(to: server.boundAddresses[0])
        try peer.send([1])
        #expect(try peer.receive() == Array("bye".utf8))
        let reason = try bounded("run") { try server.run() }
        guard case .shutdownAction = reason else {
            Issue.record("ended with \(reason)")
            return
        }
    }

    @Test("an error thrown by the handler drops the datagram and is counted", arguments: Setup.all)
    func anErrorDropsTheDatagramAndIsCounted(_ setup: Setup) throws {
        let handler = DatagramTestHandler { datagram in
            if datagram.bytes.byteCount == 0 { throw Mishap() }
            datagram.reply(datagram.bytes)
            return .none
        }
        try withDatagramServer(setup, handler) { server in
            let peer = try DatagramPeer(to: server.boundAddresses[0])
            try peer.send([])
            try peer.send([5])
            #expect(try peer.receive() == [5])
            #expect(server.statistics.datagramErrors == 1)
            #expect(server.statistics.datagramsIn == 2)
        }
    }

    @Test("with reusePort all loops serve the same UDP port", arguments: Setup.several)
    func withReusePortEveryLoopHasOnePort(_ setup: Setup) throws {
        let server = try Server(
            DatagramTestHandler(), listen: "udp://127.0.0.1:0",
            options: setup.options { $0.reusePort = true })
        try serve(server) { server in
            for _ in 0..<20 {
                let peer = try DatagramPeer(to: server.addresses[0])
                try peer.send([1])
                #expect(try peer.receive() == [1])
            }
        }
    }

    /// IPv6 carries more bytes than IPv4: the datagram comes whole or is marked as truncated.
    @Test("the largest IPv6 datagram arrives whole or is marked as truncated", arguments: Setup.all)
    func theLargestOfIPv6ComesWholeOrIsSaidToBeCut(_ setup: Setup) throws {
        let seen = Shared<[(count: Int, isTruncated: Bool)]>([])
        let handler = DatagramTestHandler { datagram in
            seen.update { $0.append((datagram.bytes.byteCount, datagram.isTruncated)) }
            return .none
        }
        try withDatagramServer(setup, handler, listen: "udp://[::1]:0") { server in
            let peer = try DatagramPeer(to: server.boundAddresses[0])
            let sizes = [65_507, 65_508, 65_527]
            for size in sizes {
                try peer.send(Pattern(stream: 1).bytes(size))
                try eventually("\(size) bytes") { seen.value.last.map { $0.count > 0 } == true }
                let (count, isTruncated) = seen.update { $0.removeLast() }
                #expect(isTruncated == (count < size), "\(count) of \(size)")
                #expect(count >= 65_507)
            }
        }
    }

    @Test("a UDP address is refused for a handler that is not a DatagramHandler")
    func aHandlerWithoutTheCallbackIsRefused() {
        let error = #expect(throws: NetError.self) {
            try Server(TestHandler(), listen: "udp://127.0.0.1:0")
        }
        #expect(error?.description.contains("DatagramHandler") == true)
    }
}

func withDatagramServer(
    _ setup: Setup, _ handler: DatagramTestHandler = DatagramTestHandler(),
    listen address: Address = "udp://127.0.0.1:0", options: Options? = nil,
    _ body: (Server) throws -> Void
) throws {
    let server = try Server(handler, listen: address, options: options ?? setup.options())
    try serve(server) { try body($0.server) }
}

/// Echoes datagrams and streams by default.
struct DatagramTestHandler: EventHandler, DatagramHandler, Sendable {
    var datagram: @Sendable (borrowing Datagram) throws -> Action = { datagram in
        datagram.reply(datagram.bytes)
        return .none
    }

    var traffic: TestHandler.OnConnection = TestHandler.echo
    var boot: @Sendable (Loop) throws -> Void = { _ in }

    init() {}

    init(_ datagram: @escaping @Sendable (borrowing Datagram) throws -> Action) {
        self.datagram = datagram
    }

    func onBoot(_ loop: Loop) throws -> Action {
        try boot(loop)
        return .none
    }

    func onDatagram(_ datagram: Datagram) throws -> Action { try self.datagram(datagram) }

    func onTraffic(_ connection: Connection) throws -> Action { try traffic(connection) }
}
