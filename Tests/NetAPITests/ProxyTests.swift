/// Tests of ten clients through a proxy to ten servers: both sides of each on one loop, no bytes
/// swapped, none lost.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ProxyTests {
    /// Runs `body` with ten echo servers, each with an address of `kind`.
    private func withBackends(
        _ setup: Setup, _ kind: EchoKind, _ body: ([Server]) throws -> Void
    ) throws {
        let servers = try (0..<10).map { _ in
            try Server(
                DatagramTestHandler(), listen: kind.address,
                options: setup.options { $0.loops = 1 })
        }
        for server in servers { try bounded("start") { try server.start() } }
        defer { for server in servers { server.stop(within: .seconds(5)) } }
        try body(servers)
    }

    @Test(
        "a proxy forwards streams in both directions on one loop",
        arguments: Setup.receiving, [EchoKind.tcp, .unix])
    func streamsGoThroughAndBackOnOneLoop(_ setup: Setup, _ kind: EchoKind) throws {
        try withBackends(setup, kind) { backends in
            let targets = backends.map { $0.boundAddresses[0] }
            let next = Shared(0)
            let other = PerConnection<Connection?>(nil)
            let pairs = Shared<[(front: Int, back: Int)]>([])
            var handler = TestHandler()
            handler.open = { connection in
                guard connection.isAccepted else { return .none }
                let number = next.update { next in
                    defer { next += 1 }
                    return next
                }
                connection.connect(to: targets[number]) { front, back in
                    pairs.update { $0.append((front.loop.index, back.loop.index)) }
                    front[other] = back
                    back[other] = front
                }
                return .none
            }
            handler.traffic = { connection in
                connection[other]?.write(connection.next())
                return .none
            }
            handler.close = { connection, _ in
                connection[other]?.close()
                connection[other] = nil
                return .none
            }
            try withServer(setup, handler, listen: [kind.address]) { proxy in
                var flows = try (0..<10).map {
                    Flow(try proxy.connect(), stream: $0, length: 1 << 20)
                }
                try Exchange.run(&flows)
                #expect(pairs.value.count == 10)
                #expect(pairs.value.allSatisfy { $0.front == $0.back }, "\(pairs.value)")
                #expect(Set(pairs.value.map(\.front)).count == setup.loops, "\(pairs.value)")
                for backend in backends {
                    #expect(backend.statistics.accepted == 1)
                    // With TLS these are the bytes of the wire.
                    let most = TestTLS.isOn ? 1_060_000 : 1 << 20
                    #expect(1 << 20...most ~= backend.statistics.bytesIn)
                }
                for flow in flows { flow.client.close() }
                try proxy.waitUntilEmpty()
                try eventually("the far sides are closed too") {
                    backends.allSatisfy { $0.connectionCount == 0 }
                }
            }
        }
    }

    @Test("a proxy forwards datagrams in both directions on one loop", arguments: Setup.receiving)
    func datagramsGoThroughAndBackOnOneLoop(_ setup: Setup) throws {
        try withBackends(setup, .udp) { backends in
            let targets = backends.map { $0.boundAddresses[0] }
            let next = Shared(0)
            let strays = Shared(0)
            let server = try Server(
                listen: "udp://127.0.0.1:0", options: setup.options { $0.reusePort = true },
                perLoop: { DatagramProxy(targets, next, strays) })
            try serve(server) { proxy in
                let peers = try (0..<10).map { _ in try DatagramPeer(to: proxy.addresses[0]) }
                try exchangeRounds(peers, rounds: 64)
                #expect(next.value == 10, "a flow for each peer")
                #expect(strays.value == 0, "a far side on another loop")
                for backend in backends { #expect(backend.statistics.datagramsIn == 64) }
            }
        }
    }
}

/// One for each loop: each sender gets its own connected socket on that loop.
private final class DatagramProxy: EventHandler, DatagramHandler {
    private enum Flow {
        case connecting([[UInt8]])
        case open(Connection)
    }

    private let targets: [Address]
    private let next: Shared<Int>
    private let strays: Shared<Int>
    private var flows: [Address: Flow] = [:]
    private let origin = PerConnection<(DatagramSocket, Address)?>(nil)

    init(_ targets: [Address], _ next: Shared<Int>, _ strays: Shared<Int>) {
        self.targets = targets
        self.next = next
        self.strays = strays
    }

    func onDatagram(_ datagram: Datagram) -> Action {
        let (from, socket, bytes) = (datagram.remoteAddress, datagram.socket, datagram.bytes)
        switch flows[from] {
        case .open(let back):
            back.write(bytes)
            back.flush()
        case .connecting(let waiting):
            flows[from] = .connecting(waiting + [Array(copying: bytes)])
        case nil:
            flows[from] = .connecting([Array(copying: bytes)])
            connect(from, socket, datagram.loop)
        }
        return .none
    }

    private func connect(_ from: Address, _ socket: DatagramSocket, _ loop: Loop) {
        let number = next.update { next in
            defer { next += 1 }
            return next
        }
        let index = loop.index
        loop.connect(to: targets[number % targets.count]) { [self] result in
            let back = try result.get()
            if back.loop.index != index { strays.update { $0 += 1 } }
            back[origin] = (socket, from)
            if case .connecting(let waiting) = flows[from] {
                for bytes in waiting {
                    back.write(bytes)
                    back.flush()
                }
            }
            flows[from] = .open(back)
        }
    }

    func onTraffic(_ connection: Connection) -> Action {
        if let (socket, address) = connection[origin] {
            socket.send(connection.next(), to: address)
        }
        return .none
    }
}
