/// Tests of seeds: the same seed is the same run, and faults lose nothing or find bugs.
import NetAPI
import NetAPITesting
import Testing

@Suite struct SeededTests {
    /// Runs several peers at once, and returns the network's log.
    private func run(_ seed: TestSeed, _ faults: Faults, loops: Int) throws -> [String] {
        let network = TestNetwork(seed: seed, faults: faults)
        let server = try TestServer(EchoHandler(), options: options(loops: loops), on: network)
        let peers = try (0..<3).map { _ in try server.connect() }
        network.together {
            for peer in peers { peer.send(TestBytes(repeating: 1, count: 3_000)) }
        }
        peers[0].finish()
        peers[1].stall()
        peers[1].send("abc")
        network.advance(by: .seconds(10))
        peers[1].resume()
        try server.stop()
        return network.log
    }

    @Test("the same seed gives the same log, and another seed another one", arguments: [1, 2])
    func deterministic(_ loops: Int) throws {
        var logs: Set<[String]> = []
        for seed in (1...12).map({ TestSeed($0) }) {
            let log = try run(seed, .all, loops: loops)
            #expect(try run(seed, .all, loops: loops) == log, "\(seed)")
            logs.insert(log)
        }
        #expect(logs.count == 12)
        #expect(try run(1, [], loops: loops) == run(2, [], loops: loops))
    }

    @Test("lossless faults lose nothing", arguments: TestSeed.each(1...25))
    func lossless(_ seed: TestSeed) throws {
        let network = TestNetwork(seed: seed, faults: .lossless)
        let server = try TestServer(
            EchoHandler(), options: options(loops: network.random(in: 1...3)), on: network)
        let bytes = TestBytes((0..<4_000).map { UInt8(truncatingIfNeeded: $0 / 7) })
        let peers = try (0..<3).map { _ in try server.connect() }
        network.together { for peer in peers { peer.send(network.randomCut(of: bytes)) } }
        for peer in peers { #expect(peer.received == bytes) }
        peers[0].finish()
        #expect(peers[0].end == .closed && peers[0].closeReason == .peer)
        peers[1].reset()
        try server.stop()
        #expect(server.closes.count == 3 && network.problems == [])
    }

    @Test("under all faults a peer receives a beginning of its bytes", arguments: [1, 2])
    func all(_ loops: Int) throws {
        var (whole, cut, departed) = (0, 0, 0)
        try TestNetwork.seeds(1...150, faults: .all) { network in
            let server = try TestServer(
                EchoHandler(), options: options(loops: loops), on: network)
            let bytes = TestBytes((0..<2_000).map { UInt8(truncatingIfNeeded: $0 / 3) })
            let peer = try server.connect()
            peer.send(network.randomCut(of: bytes))
            network.advance(by: .seconds(20))
            try network.require(bytes.starts(with: peer.received), "\(peer.received)")
            if peer.hasLeft { departed += 1 } else if peer.end == .reset { cut += 1 }
            if peer.received == bytes { whole += 1 }
            try server.stop()
        }
        // A replay has one seed only.
        guard TestSeed.each(1...150).count > 1 else { return }
        #expect(whole > 40)
        #expect(cut > 5)
        #expect(departed > 20)
    }

    @Test("seeds find a bug, and the failure names the seed and its replay")
    func finds() throws {
        let failure = #expect(throws: SeedFailure.self) {
            try TestNetwork.seeds(1...50) { network in
                let server = try TestServer(SingleHandler(), on: network)
                let peer = try server.connect()
                peer.send("one\r\ntwo\r\n")
                try network.require(peer.received == "+one\r\n+two\r\n")
            }
        }
        let seed = try #require(failure?.seed)
        #expect("\(try #require(failure))".contains("replay with MILLRACE_SEED=\(seed.number)"))
        #expect(failure?.log.isEmpty == false)
        let network = TestNetwork(seed: seed, faults: .lossless)
        let server = try TestServer(SingleHandler(), on: network)
        #expect(try server.reply(to: "one\r\ntwo\r\n") != "+one\r\n+two\r\n")
    }

    @Test("the log has the steps and the callbacks with their times")
    func log() throws {
        let server = try TestServer(LineHandler())
        let peer = try server.connect()
        server.advance(by: .milliseconds(1234))
        peer.send("PING\r\n")
        peer.close()
        server.network.note("done")
        #expect(
            server.network.log == [
                "0.000 ms: server 1: onOpen of peer :50000",
                #"1234.000 ms: peer :50000 sends 6 bytes, "PING\r\n""#,
                "1234.000 ms: server 1: onTraffic of peer :50000, 6 unread",
                #"1234.000 ms: peer :50000 receives 7 bytes, "+PONG\r\n""#,
                "1234.000 ms: peer :50000 closes",
                "1234.000 ms: server 1: onClose of peer :50000, .peer",
                "1234.000 ms: done",
            ])
    }

    /// Counts the handlers that exist.
    private final class Counted: EventHandler, Sendable {
        let life: Life
        init(_ life: Life) { self.life = life }
        func onTraffic(_ connection: Connection) -> Action { .none }
        func onShutdown(_ server: Server) { life.note("shutdown") }
        deinit { life.note("gone") }
    }

    // Unchecked: used on one thread.
    private final class Life: @unchecked Sendable {
        private(set) var notes: [String] = []
        func note(_ note: String) { notes.append(note) }
    }

    @Test("a server without a stop ends with its network, and is freed")
    func life() throws {
        let life = Life()
        do {
            let network = TestNetwork()
            let upstream = try network.upstream(at: "tcp://10.0.0.1:1")
            upstream.onConnect { _ in }
            let server = try TestServer(Counted(life), on: network)
            let peer = try server.connect()
            peer.send("x")
            network.after(.seconds(1)) { peer.send("never") }
            #expect(life.notes == [])
        }
        #expect(life.notes == ["shutdown", "gone"])
    }
}
