/// Tests of datagrams to many receivers: broadcast and multicast on loopback, where both work
/// without a route.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct GroupTests {
    private let silent = DatagramTestHandler { _ in .none }

    private func broadcastAddress(_ address: Address) throws -> Address {
        .udp("127.255.255.255", port: try #require(address.port))
    }

    @Test("a broadcast reaches a socket bound to the wildcard address", arguments: Setup.all)
    func aBroadcastReachesWhoListensOnEveryAddress(_ setup: Setup) throws {
        try withDatagramServer(setup, silent, listen: "udp://0.0.0.0:0") { first in
            let target = try broadcastAddress(first.boundAddresses[0])
            let handler = DatagramTestHandler { datagram in
                datagram.socket.send([1, 2, 3], to: target)
                return .none
            }
            try withDatagramServer(setup, handler) { second in
                try DatagramPeer(to: second.boundAddresses[0]).send([0])
                try eventually("it is received") { first.statistics.datagramsIn == 1 }
                #expect(second.statistics.datagramDrops == 0)
            }
        }
    }

    @Test("a connected socket may send a broadcast", arguments: Setup.all)
    func aConnectedSocketMayBroadcast(_ setup: Setup) throws {
        try withDatagramServer(setup, silent, listen: "udp://0.0.0.0:0") { server in
            let failures = Shared<[String]>([])
            let client = try Client(
                TestHandler(open: { connection in
                    connection.write("to all")
                    return .close
                }), options: setup.options())
            try client.start()
            client.connect(to: try broadcastAddress(server.boundAddresses[0])) { result in
                if case .failure(let error) = result { failures.update { $0.append("\(error)") } }
            }
            try eventually("it is received") {
                server.statistics.datagramsIn == 1 || !failures.value.isEmpty
            }
            #expect(failures.value == [])
            try bounded("stop") { client.stop() }
        }
    }

    @Test("a socket receives datagrams of a group from the moment it joins", arguments: Setup.all)
    func aGroupIsReceivedFromTheMomentItIsJoined(_ setup: Setup) throws {
        let group: Address = "udp://239.1.2.3:0"
        let handler = DatagramTestHandler { datagram in
            if datagram.bytes.equals("join") { try datagram.socket.join(group, interface: "lo") }
            datagram.reply(datagram.bytes)
            return .none
        }
        try withDatagramServer(setup, handler, listen: "udp://0.0.0.0:0") { server in
            let port = try #require(server.boundAddresses[0].port)
            let home = try DatagramPeer(to: .udp("127.0.0.1", port: port))
            let peer = try DatagramPeer(sendingTo: .udp("239.1.2.3", port: port), by: "lo")
            // No socket has joined yet, and loopback keeps the order: the echo of "join" comes
            // first.
            try peer.send(Array("early".utf8))
            try home.send(Array("join".utf8))
            #expect(try home.receive() == Array("join".utf8))
            try peer.send(Array("in time".utf8))
            #expect(try peer.receive() == Array("in time".utf8))
            #expect(server.statistics.datagramsIn == 2)
            #expect(server.statistics.datagramErrors == 0)
        }
    }

    /// With `reusePort`, the other loop's socket receives nothing, since it has not joined.
    @Test("a server that only receives joins its group in onBoot", arguments: Setup.all)
    func aReceiverJoinsInOnBoot(_ setup: Setup) throws {
        for reusePort in [false, true] {
            let seen = Shared<[[UInt8]]>([])
            var handler = DatagramTestHandler { datagram in
                seen.update { [bytes = Array(copying: datagram.bytes)] in $0.append(bytes) }
                return .none
            }
            handler.boot = { loop in
                try loop.server.datagramSockets[0].join("udp://239.1.2.4:0", interface: "lo")
            }
            let options = setup.options { $0.reusePort = reusePort }
            try withDatagramServer(
                setup, handler, listen: "udp://0.0.0.0:0", options: options
            ) { server in
                #expect(server.datagramSockets.count == (reusePort ? setup.loops : 1))
                let port = try #require(server.boundAddresses[0].port)
                let peer = try DatagramPeer(sendingTo: .udp("239.1.2.4", port: port), by: "lo")
                let all = (0..<20).map { [UInt8($0)] }
                for bytes in all { try peer.send(bytes) }
                try eventually("all came") { seen.value.last == all.last }
                #expect(seen.value == all)
                #expect(server.statistics.datagramsIn == all.count)
            }
        }
    }

    @Test("a group that cannot be joined in onBoot fails the start", arguments: Setup.single)
    func joiningMayFailTheStart(_ setup: Setup) throws {
        var handler = silent
        handler.boot = { loop in
            try loop.server.datagramSockets[0].join("udp://239.1.2.4:0", interface: "no such")
        }
        let server = try Server(handler, listen: "udp://0.0.0.0:0", options: setup.options())
        let error = #expect(throws: NetError.self) { try server.start() }
        #expect(error?.code == .invalidAddress)
    }

    @Test("join throws invalidAddress for a wrong group or interface", arguments: Setup.single)
    func joiningTellsWhatIsWrong(_ setup: Setup) throws {
        let codes = Shared<[String]>([])
        let handler = DatagramTestHandler { datagram in
            let attempts: [(Address, String?)] = [
                ("udp://[ff01::1234%lo]:0", nil), ("udp://[ff01::1235]:0", "lo"),
                ("udp://[ff01::1234]:0", "no such"), ("udp://[::1]:0", "lo"),
                ("tcp://[ff01::1234]:0", "lo"),
            ]
            for (group, interface) in attempts {
                do throws(NetError) {
                    try datagram.socket.join(group, interface: interface)
                    codes.update { $0.append("joined") }
                } catch {
                    codes.update { $0.append("\(error.code)") }
                    #expect(!error.cause.isEmpty && !error.remedy.isEmpty)
                }
            }
            return .none
        }
        try withDatagramServer(setup, handler, listen: "udp://[::1]:0") { server in
            try DatagramPeer(to: server.boundAddresses[0]).send([0])
            try eventually("all were tried") { codes.value.count == 5 }
            let wrong = Array(repeating: "invalidAddress", count: 3)
            #expect(codes.value == ["joined", "joined"] + wrong)
        }
    }
}
