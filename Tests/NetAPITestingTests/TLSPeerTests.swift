/// Tests of TLS on the simulated network, with peers that the test moves byte by byte.
import CMillraceTLS
import NetAPI
import NetAPITesting
import NetTLS
import Testing

@Suite struct TLSPeerTests {
    private func options(
        change: (inout TLSClient.Settings) -> Void = { _ in }
    ) throws -> Options {
        var settings = TLSClient.Settings()
        settings.trust = .certificates(Certificate.chain)
        settings.identity = try TLSIdentity(chain: Certificate.chain, key: Certificate.key)
        change(&settings)
        var options = Options()
        options.allowHalfClosure = true
        options.tlsClient = try TLSClient(settings: settings)
        return options
    }

    /// The upstream's ends, in the order of their connections.
    // Unchecked: one thread turns all loops of a network.
    private final class Ends: @unchecked Sendable {
        var all: [TLSEnd] = []
        /// Bytes that were not sent.
        var held: [UInt8] = []
    }

    /// Plays a server with TLS. With `holdsTickets` its tickets come in two records, and it keeps
    /// the second.
    private func serve(
        _ context: TLSEndContext, on network: TestNetwork, holdsTickets: Bool = false
    ) throws -> (TestUpstream, Ends) {
        let ends = Ends()
        let upstream = try network.upstream(at: "tcp://127.0.0.1:9443")
        play(upstream, context, ends, holdsTickets: holdsTickets)
        return (upstream, ends)
    }

    private func play(
        _ upstream: TestUpstream, _ context: TLSEndContext, _ ends: Ends,
        holdsTickets: Bool = false
    ) {
        upstream.onConnect { peer in
            guard let end = try? TLSEnd(context) else { return }
            ends.all.append(end)
            peer.onReceive { peer, bytes in
                let isEstablished = end.isEstablished
                end.receive(bytes)
                var output = end.take()
                if holdsTickets && !isEstablished && end.isEstablished {
                    let first = TLSEnd.records(output).first ?? 0
                    ends.held = Array(output.dropFirst(first))
                    output = Array(output.prefix(first))
                }
                if !output.isEmpty { peer.send(output) }
            }
        }
    }

    @Test(
        "bytes and an end wait for the rest of a ticket, and none are lost",
        arguments: ["hello", ""])
    func splitTicket(text: String) throws {
        let network = TestNetwork()
        let context = try TLSEndContext(isServer: true, version: 0x0304)
        context.requireCertificates()
        #expect(context.set(TLSEndContext.Control.mostFragment, 512) == 1)
        let (upstream, ends) = try serve(context, on: network, holdsTickets: true)
        let server = try TestServer(Front(), options: try options(), on: network)
        let peer = try server.connect()
        let end = try #require(ends.all.first)
        #expect(end.isEstablished && !ends.held.isEmpty)
        let count = upstream.peers[0].received.count
        if !text.isEmpty { peer.send(text) }
        peer.finish()
        #expect(upstream.peers[0].received.count == count)
        #expect(upstream.peers[0].end == .open)
        upstream.peers[0].send(ends.held)
        #expect(end.plain == Array(text.utf8))
        #expect(end.hasEnded && upstream.peers[0].end == .closed)
        #expect(network.problems == [])
    }

    @Test("each connection of TLS 1.2 resumes the session, and each of 1.3 one of its own")
    func resumption() throws {
        for version in TLSEndContext.versions {
            let network = TestNetwork()
            let context = try TLSEndContext(isServer: true, version: version)
            let (_, ends) = try serve(context, on: network)
            let server = try TestServer(Front(), options: try options(), on: network)
            for _ in 0..<3 { try server.connect().finish() }
            #expect(ends.all.map(\.isResumed) == [false, true, true])
            // Two at once: the second begins before the server has given the first a ticket.
            try network.together { for _ in 0..<2 { _ = try server.connect() } }
            #expect(ends.all.map(\.isResumed).suffix(2) == [true, version == 0x0303])
        }
    }

    @Test("a session at which a peer drops the connection is not offered again")
    func refusedSession() throws {
        let network = TestNetwork()
        let context = try TLSEndContext(isServer: true, version: 0x0303)
        let (upstream, ends) = try serve(context, on: network)
        let server = try TestServer(Front(), options: try options(), on: network)
        try server.connect().finish()
        upstream.behaviour = .accepts
        upstream.onConnect { $0.onReceive { peer, _ in peer.finish() } }
        try server.connect().finish()
        play(upstream, context, ends)
        try server.connect().finish()
        #expect(ends.all.map(\.isEstablished) == [true, true])
        #expect(ends.all.map(\.isResumed) == [false, false])
    }

    /// Secures the connection that it makes.
    private struct Starting: EventHandler {
        let tls: TLSClient

        func onOpen(_ connection: Connection) throws -> Action {
            if connection.isAccepted {
                connection.connect(to: "tcp://127.0.0.1:9443") { _, _ in }
            } else {
                try connection.startTLS(tls, name: "mx.example.org.")
            }
            return .none
        }

        func onTraffic(_ connection: Connection) -> Action { .none }
    }

    @Test("startTLS asks for a name without the root's dot")
    func dotOfAClient() throws {
        let network = TestNetwork()
        let context = try TLSEndContext(isServer: true, version: 0x0304)
        let (_, ends) = try serve(context, on: network)
        let options = try options { $0.verifiesName = false }
        let tls = try #require(options.tlsClient)
        let server = try TestServer(Starting(tls: tls), options: options, on: network)
        _ = try server.connect()
        #expect(ends.all.first?.isEstablished == true)
        #expect(ends.all.first?.askedName == "mx.example.org")
    }

    // Unchecked: one thread turns all loops of a network.
    private final class Names: @unchecked Sendable { var all: [String] = [] }

    private struct Secured: EventHandler {
        let tls: TLSServer

        func onOpen(_ connection: Connection) throws -> Action {
            try connection.startTLS(tls)
            return .none
        }

        func onTraffic(_ connection: Connection) -> Action { .none }
    }

    @Test("a server looks up the name that a client asks for without the root's dot")
    func dotOfAPeer() throws {
        let names = Names()
        let identity = try TLSIdentity(chain: Certificate.chain, key: Certificate.key)
        let tls = try TLSServer(identity) { name in
            names.all.append(name)
            return nil
        }
        let server = try TestServer(Secured(tls: tls))
        for name in ["Mx.example.org.", "mx.example.org"] {
            let client = try TLSEnd(
                try TLSEndContext(isServer: false, version: 0x0304), name: name)
            try server.connect().send(client.take())
        }
        #expect(names.all == ["mx.example.org", "mx.example.org"])
    }
}
