/// Tests of TLS without a network: sessions by the clock, messages in parts, and the sizes of
/// records.
import CMillraceTLS
import Testing

@Suite struct TLSEndTests {
    /// Moves bytes between two ends until none are left.
    private func talk(_ client: TLSEnd, _ server: TLSEnd) {
        while true {
            let (up, down) = (client.take(), server.take())
            if up.isEmpty && down.isEmpty { return }
            server.receive(up)
            client.receive(down)
        }
    }

    private struct Pair {
        let client: TLSEndContext
        let server: TLSEndContext

        init(_ version: Int32) throws {
            client = try TLSEndContext(isServer: false, version: version)
            server = try TLSEndContext(isServer: true, version: version)
        }

        func setTime(_ time: Int) {
            client.setTime(time)
            server.setTime(time)
        }
    }

    /// Connects with the client's session, if it may be resumed.
    private func connect(_ pair: Pair) throws -> (client: TLSEnd, server: TLSEnd) {
        let (client, server) = (try TLSEnd(pair.client, resumes: true), try TLSEnd(pair.server))
        talk(client, server)
        return (client, server)
    }

    /// In the seconds of the epoch, the end of the certificate of the tests.
    private static let expiry = 4_949_391_969

    @Test("a session ends with the client's certificate", arguments: TLSEndContext.versions)
    func clientsCertificate(version: Int32) throws {
        let pair = try Pair(version)
        pair.server.requireCertificates()
        // Its own clock is right, so that the server alone refuses.
        pair.client.setTime(Self.expiry - 60)
        for (seconds, isResumed) in [(-60, false), (-30, true), (-10, true)] {
            pair.server.setTime(Self.expiry + seconds)
            let (client, server) = try connect(pair)
            #expect(client.isEstablished && server.isEstablished)
            #expect(server.isResumed == isResumed)
            #expect(mr_tls_verified(server.tls) == 0)
        }
        pair.server.setTime(Self.expiry + 10)
        let server = try connect(pair).server
        #expect(!server.isEstablished)
        #expect(server.failure == "certificate has expired")
    }

    @Test("a session ends with the server's certificate", arguments: TLSEndContext.versions)
    func serversCertificate(version: Int32) throws {
        let pair = try Pair(version)
        for (seconds, isResumed) in [(-60, false), (-30, true)] {
            pair.setTime(Self.expiry + seconds)
            let client = try connect(pair).client
            #expect(client.isEstablished && client.isResumed == isResumed)
        }
        pair.client.setTime(Self.expiry + 10)
        let client = try connect(pair).client
        #expect(client.failure == "certificate has expired")
    }

    @Test(
        "where any certificate is accepted, its dates end no session",
        arguments: TLSEndContext.versions)
    func anyCertificate(version: Int32) throws {
        let pair = try Pair(version)
        mr_tls_verify(pair.server.pointer, true, true, false)
        mr_tls_verify(pair.client.pointer, false, false, true)
        pair.setTime(Self.expiry + 10)
        for isResumed in [false, true, true] {
            let (client, server) = try connect(pair)
            #expect(client.isResumed == isResumed && server.isResumed == isResumed)
        }
    }

    @Test(
        "two hours after its full handshake a client makes another, however often it resumed",
        arguments: TLSEndContext.versions)
    func chain(version: Int32) throws {
        let pair = try Pair(version)
        let times = [
            (0, false), (3_600, true), (7_100, true), (7_199, true), (7_201, false), (9_000, true),
            (14_400, true), (14_402, false),
        ]
        for (seconds, isResumed) in times {
            pair.setTime(Self.expiry - 100_000 + seconds)
            let (client, server) = try connect(pair)
            #expect(client.isEstablished && server.isEstablished)
            #expect(client.isResumed == isResumed, "after \(seconds) s")
        }
    }

    @Test("a ticket in two records lets nothing be sealed between them")
    func splitTicket() throws {
        let pair = try Pair(0x0304)
        pair.server.requireCertificates()
        #expect(pair.server.set(TLSEndContext.Control.mostFragment, 512) == 1)
        let (client, server) = (try TLSEnd(pair.client), try TLSEnd(pair.server))
        while !server.isEstablished {
            server.receive(client.take())
            if !server.isEstablished { client.receive(server.take()) }
        }
        let ticket = server.take()
        let first = try #require(TLSEnd.records(ticket).first)
        #expect(first < ticket.count)
        client.receive(ticket.prefix(first))
        #expect(client.seal([1, 2]) == 0)
        #expect(!client.sealEnd())
        #expect(client.take() == [])
        client.receive(ticket.dropFirst(first))
        #expect(client.seal([1, 2]) == 1)
        #expect(client.sealEnd())
        talk(client, server)
        #expect(server.plain == [1, 2] && server.hasEnded)
    }

    @Test("small records end at any time, also behind a refused renegotiation")
    func recordSize() throws {
        for isRenegotiated in [false, true] {
            let pair = try Pair(0x0303)
            SSL_CTX_clear_options(pair.client.pointer, TLSEndContext.Control.noRenegotiation)
            let (client, server) = try connect(pair)
            mr_tls_set_record_size(server.tls, 1_400)
            let bytes = (0..<49_152).map { UInt8(truncatingIfNeeded: $0 / 11) }
            #expect(server.seal(bytes) == 1)
            let small = server.take()
            #expect(TLSEnd.records(small).allSatisfy { $0 < 1_450 })
            client.receive(small)
            if isRenegotiated {
                #expect(client.updateKeys())
                server.receive(client.take())
                #expect(server.failure == nil)
            }
            mr_tls_set_record_size(server.tls, 0)
            #expect(server.seal(bytes) == 1)
            let large = server.take()
            #expect(TLSEnd.records(large).filter { $0 > 16_384 }.count == 3)
            if !isRenegotiated {
                client.receive(large)
                #expect(client.plain == bytes + bytes)
            }
        }
    }

    @Test("tickets are not cut by small records")
    func wholeTicket() throws {
        let pair = try Pair(0x0304)
        pair.server.requireCertificates()
        let (client, server) = (try TLSEnd(pair.client), try TLSEnd(pair.server))
        mr_tls_set_record_size(server.tls, 512)
        while !server.isEstablished {
            server.receive(client.take())
            if !server.isEstablished { client.receive(server.take()) }
        }
        let ticket = server.take()
        #expect(TLSEnd.records(ticket) == [ticket.count])
    }

    @Test("a peer that ends politely in the handshake is the reason of its failure")
    func endInHandshake() throws {
        let context = try TLSEndContext(isServer: true, version: 0x0304)
        let client = try TLSEnd(try TLSEndContext(isServer: false, version: 0x0304))
        let server = try TLSEnd(context)
        let hello = client.take()
        server.receive(hello)
        // user_canceled, close_notify.
        server.receive([21, 3, 3, 0, 2, 1, 90, 21, 3, 3, 0, 2, 1, 0])
        #expect(server.failure == "the peer ended the stream during the handshake")
        client.receive([21, 3, 3, 0, 2, 1, 0])
        #expect(client.failure == "the peer ended the stream during the handshake")
    }
}
