/// Tests of TLS against itself: a proxy's client and a server behind it, on one simulated network,
/// with the library's real filters at both ends.
import NetAPI
import NetAPITesting
import NetTLS
import Testing

@Suite struct TwoFiltersTests {
    private static let trust = TLSTrust.certificates(Certificate.chain)

    private struct Pair {
        let front: TestServer
        let back: TestServer

        func stop() throws {
            try front.stop()
            try back.stop()
        }
    }

    private func pair(
        on network: TestNetwork, _ handler: some EventHandler & Sendable
    ) throws -> Pair {
        let identity = try TLSIdentity(chain: Certificate.chain, key: Certificate.key)
        var (behind, before) = (Options(), Options())
        behind.loops = .count(network.random(in: 1...2))
        behind.allowHalfClosure = true
        behind.tls = try TLSServer(identity)
        before.loops = .count(network.random(in: 1...2))
        before.allowHalfClosure = true
        before.tlsClient = try TLSClient(trust: Self.trust)
        return Pair(
            front: try TestServer(Front(), options: before, on: network),
            back: try TestServer(
                handler, listen: ["tls://127.0.0.1:9443"], options: behind, on: network))
    }

    /// Echoes, and ends its side after the peer's end.
    private struct Polite: EventHandler {
        func onTraffic(_ connection: Connection) -> Action {
            connection.write(connection.next())
            return .none
        }

        func onHalfClose(_ connection: Connection) -> Action { .close }
    }

    @Test("bytes and ends come through two filters whole, whatever is cut and delayed")
    func lossless() throws {
        try TestNetwork.seeds(1...30, faults: .lossless) { network in
            let pair = try pair(on: network, Polite())
            let count = network.pick([1, 100, 3_000, 20_000])
            let bytes = TestBytes((0..<count).map { UInt8(truncatingIfNeeded: $0 / 5) })
            let peers = try (0..<network.random(in: 1...3)).map { _ in try pair.front.connect() }
            network.together { for peer in peers { peer.send(network.randomCut(of: bytes)) } }
            network.advance(by: .seconds(30))
            for peer in peers {
                try network.require(
                    peer.received == bytes, "\(peer.received.count) of \(bytes.count) bytes")
                peer.finish()
            }
            network.advance(by: .seconds(30))
            for peer in peers { try network.require(peer.end == .closed, "\(peer.end as Any)") }
            try network.require(pair.back.statistics.handshakes == peers.count)
            try pair.stop()
            try network.require(network.problems == [], "\(network.problems)")
        }
    }

    /// Sends a reply at once and closes, as its last bytes and its end arrive together.
    private struct Replying: EventHandler {
        static let reply = TestBytes((0..<50_000).map { UInt8(truncatingIfNeeded: $0 / 9) })

        func onOpen(_ connection: Connection) -> Action {
            connection.write(Self.reply.array)
            return .close
        }

        func onTraffic(_ connection: Connection) -> Action { .none }
    }

    @Test("a stream that ends whole is whole, and one that was cut never looks whole")
    func all() throws {
        var (whole, cut) = (0, 0)
        try TestNetwork.seeds(1...80, faults: .all) { network in
            let pair = try pair(on: network, Replying())
            let peer = try pair.front.connect()
            network.advance(by: .seconds(60))
            try network.require(Replying.reply.starts(with: peer.received))
            if peer.received == Replying.reply {
                whole += 1
            } else {
                try network.require(
                    // Without a byte it may be the connect behind that failed.
                    peer.hasLeft || peer.end != .closed || peer.received.isEmpty,
                    "\(peer.received.count) bytes look like the whole reply")
                cut += 1
            }
            try pair.stop()
        }
        guard TestSeed.each(1...80).count > 1 else { return }
        #expect(whole > 20)
        #expect(cut > 5)
    }
}
