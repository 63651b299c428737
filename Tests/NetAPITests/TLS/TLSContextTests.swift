/// Tests of a server's contexts: the names, tickets and reasons that they share.
import NetAPI
import NetTLS
import Testing

@Suite struct TLSContextTests {
    /// A curve that TLS 1.3 does not have, so that both sides agree on TLS 1.2.
    static let oldCurve = ["ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"]
    @Test(
        "a resumed connection of TLS 1.2 has the name that its client asked for",
        arguments: Setup.single)
    func resumedName(_ setup: Setup) throws {
        let certificate = try TestCertificate(names: "DNS:old.example", kind: Self.oldCurve)
        let seen = Shared<[TLSInfo]>([])
        let handler = TestHandler(open: { connection in
            seen.update { $0 += [connection.tls].compactMap { $0 } }
            return .none
        })
        let tls = try TLSTest.server(TLSIdentity(chain: certificate.chain, key: certificate.key))
        let client = try TLSTest.client(trusting: certificate) { $0.groups = "X25519:secp256k1" }
        try TLSTest.with(setup, tls, client, handler) { connector, _ in
            for isResumed in [false, true] {
                let info = try connector.connect(as: "old.example").get()
                #expect(info.version == .v12)
                #expect(info.isResumed == isResumed)
            }
            try eventually("the server's side") { seen.value.count == 2 }
            #expect(seen.value.map(\.isResumed) == [false, true])
            #expect(seen.value.map(\.serverName) == ["old.example", "old.example"])
        }
    }
}
