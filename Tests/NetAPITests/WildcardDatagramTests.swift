/// Tests of a socket that is bound to every address: it answers from the address that was asked. A
/// peer with a connected socket receives from no other address.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct WildcardDatagramTests {
    /// The address that the socket is bound to, and the hosts that peers send to.
    struct Place: Sendable, CustomTestStringConvertible {
        let listen: Address
        let hosts: [String]

        static let all = [
            Place(listen: "udp://0.0.0.0:0", hosts: ["127.0.0.2", "127.0.0.1", "127.9.9.9"]),
            Place(listen: "udp://[::]:0", hosts: ["127.0.0.2", "::1", "127.0.0.1"]),
            Place(listen: "udp://:0", hosts: ["127.0.0.3", "::1"]),
            Place(listen: "udp6://[::]:0", hosts: ["::1"]),
        ]

        var testDescription: String { listen.description }
    }

    private func echo(noting asked: Shared<[Address]>) -> DatagramTestHandler {
        DatagramTestHandler { datagram in
            asked.update { [address = datagram.localAddress] in $0.append(address) }
            datagram.reply(datagram.bytes)
            return .none
        }
    }

    @Test(
        "a wildcard socket answers each datagram from the address that it was sent to",
        arguments: Setup.all, Place.all)
    func whoeverIsAskedAnswers(_ setup: Setup, _ place: Place) throws {
        let asked = Shared<[Address]>([])
        try withDatagramServer(setup, echo(noting: asked), listen: place.listen) { server in
            let port = try #require(server.boundAddresses[0].port)
            let targets = place.hosts.map { Address.udp($0, port: port) }
            let peers = try targets.map { try DatagramPeer(to: $0, patience: 5) }
            for size in [0, 1, 1200, 65_507] {
                // All peers send before any answer, so that consecutive answers have different
                // sources.
                let bytes = Pattern(stream: 1).bytes(size)
                for peer in peers { try peer.send(bytes) }
                for peer in peers { #expect(try peer.receive() == bytes, "\(size) bytes") }
            }
            #expect(Set(asked.value) == Set(targets))
            #expect(server.statistics.datagramDrops == 0)
        }
    }

    /// A bundle has one source, and all pieces of a received one were sent to one address.
    @Test(
        "a wildcard socket with offloads answers from the address that each datagram was sent to",
        arguments: Setup.all, [DatagramOffloadTests.Offload.all[3]])
    func offloadsKeepAddressesApart(
        _ setup: Setup, _ offload: DatagramOffloadTests.Offload
    ) throws {
        let asked = Shared<[Address]>([])
        let options = offload.options(setup)
        for place in Place.all {
            try withDatagramServer(
                setup, echo(noting: asked), listen: place.listen, options: options
            ) { server in
                let port = try #require(server.boundAddresses[0].port)
                let targets = place.hosts.map { Address.udp($0, port: port) }
                let peers = try targets.map { try DatagramPeer(to: $0, patience: 5) }
                let bytes = Pattern(stream: 2).bytes(20 * 1000 - 300)
                for peer in peers { try peer.send(bytes, inDatagramsOf: 1000) }
                for peer in peers {
                    for start in stride(from: 0, to: bytes.count, by: 1000) {
                        let part = Array(bytes[start..<min(start + 1000, bytes.count)])
                        #expect(try peer.receive() == part, "\(place.listen) at \(start)")
                    }
                }
                #expect(Set(asked.update { $0 }.suffix(20 * peers.count)) == Set(targets))
            }
        }
    }

    @Test("a broadcast is answered from an address of the machine", arguments: Setup.all)
    func aBroadcastIsAnsweredFromAnAddressOfTheMachine(_ setup: Setup) throws {
        for listen: Address in ["udp://0.0.0.0:0", "udp://[::]:0"] {
            let asked = Shared<[Address]>([])
            try withDatagramServer(setup, echo(noting: asked), listen: listen) { server in
                let port = try #require(server.boundAddresses[0].port)
                let peer = try DatagramPeer(
                    sendingTo: .udp("127.255.255.255", port: port), by: "lo", patience: 5)
                try peer.setOption(SOL_SOCKET, SO_BROADCAST, 1)
                try peer.send([7])
                #expect(try peer.receive() == [7], "\(listen)")
                #expect(asked.value == [.udp("127.0.0.1", port: port)])
            }
        }
    }

    @Test(
        "the local address of a datagram to a bound socket is the bound address",
        arguments: Setup.single)
    func aBoundAddressIsAlwaysTheOneThatWasAsked(_ setup: Setup) throws {
        let asked = Shared<[Address]>([])
        try withDatagramServer(
            setup, echo(noting: asked), listen: "udp://127.0.0.2:0"
        ) { server in
            let peer = try DatagramPeer(to: server.boundAddresses[0])
            try peer.send([1])
            #expect(try peer.receive() == [1])
            #expect(asked.value == [server.boundAddresses[0]])
        }
    }

    // MARK: IPv4 by a socket of IPv6

    @Test(
        "an IPv6 socket reports an IPv4 sender with its IPv4 address and can send to it",
        arguments: Setup.all)
    func aSenderOfIPv4ReadsAsOneAndCanBeSentTo(_ setup: Setup) throws {
        let senders = Shared<[(DatagramSocket, Address)]>([])
        let handler = DatagramTestHandler { datagram in
            senders.update { [socket = datagram.socket, address = datagram.remoteAddress] in
                $0.append((socket, address))
            }
            datagram.socket.send([1], to: datagram.remoteAddress)
            return .none
        }
        try withDatagramServer(setup, handler, listen: "udp://[::]:0") { server in
            let port = try #require(server.boundAddresses[0].port)
            let peer = try DatagramPeer(to: .udp("127.0.0.1", port: port), patience: 5)
            try peer.send([0])
            #expect(try peer.receive() == [1])
            let (socket, address) = try #require(senders.value.first)
            #expect(address.description.hasPrefix("udp://127.0.0.1:"))
            #expect(socket.send([2], to: address))
            #expect(try peer.receive() == [2])
            let same = Address.udp("::ffff:127.0.0.1", port: address.port ?? 0)
            #expect(socket.send([3], to: same))
            #expect(try peer.receive() == [3])
            #expect(server.statistics.datagramDrops == 0)
        }
    }
}
