/// Tests of a server's contexts: how many it makes, and when, and the tickets that they share.
import Glibc
import MillraceTestSupport
import NetAPI
import NetTLS
import Testing

@Suite struct TLSContextTests {
    /// A log of secrets. Each context has a descriptor of its own for the file.
    private final class ContextCount {
        let log: TLSKeyLog
        private let path = TemporaryPath.make("log")

        init() throws { log = try TLSKeyLog(path: path) }
        deinit { unlink(path) }

        var value: Int {
            let all = names(in: "/proc/self/fd").count { name in
                var target = [CChar](repeating: 0, count: 4096)
                let count = readlink("/proc/self/fd/\(name)", &target, target.count)
                let bytes = target.prefix(max(count, 0)).map { UInt8(bitPattern: $0) }
                return String(decoding: bytes, as: UTF8.self) == path
            }
            return all - 1
        }
    }

    private static func identity(_ names: String) throws -> TLSIdentity {
        let certificate = try TestCertificate(names: names)
        return try TLSIdentity(chain: certificate.chain, key: certificate.key)
    }

    @Test(
        "names to which select gives one identity share a context, and it is asked once for each",
        arguments: Setup.single)
    func sharedIdentity(_ setup: Setup) throws {
        let count = try ContextCount()
        let (one, other) = (try Self.identity("DNS:one.example"), TestTLS.identity)
        let asked = Shared<[String]>([])
        var settings = TLSServer.Settings()
        settings.keyLog = count.log
        let tls = try TLSServer(TestTLS.identity, settings: settings) { name in
            asked.update { $0.append(name) }
            return name.hasPrefix("one") ? one : name.hasPrefix("other") ? other : nil
        }
        let client = try TLSTest.client { $0.trust = .anyCertificate }
        try TLSTest.with(setup, tls, client) { connector, _ in
            let before = count.value
            for number in 0..<6 {
                for kind in ["one", "other", "none"] {
                    _ = try connector.connect(as: "\(kind)\(number).example").get()
                }
            }
            #expect(count.value == before + 2)
            #expect(asked.value.count == 18)
            _ = try connector.connect(as: "one0.example").get()
            #expect(asked.value.count == 18)
        }
    }

    @Test(
        "a replacement makes the contexts of the loops that serve, and frees the old ones",
        arguments: Setup.all)
    func replacement(_ setup: Setup) throws {
        let count = try ContextCount()
        let tls = try TLSTest.server { $0.keyLog = count.log }
        let more = [
            TestTLS.identity, try Self.identity("DNS:a.test"), try Self.identity("DNS:b.test"),
        ]
        try TLSTest.with(setup, tls, try TLSTest.client()) { connector, server in
            for _ in 0..<8 {
                let client = try server.connect()
                #expect(try client.roundTrip("to any loop"))
            }
            try server.waitUntilEmpty()
            let loops = count.value
            #expect((1...setup.loops).contains(loops))
            try tls.replace(more)
            #expect(count.value == 3 * loops)
            #expect(try connector.connect(as: "localhost").get().isVerified)
        }
    }

    @Test("a ticket outlives a replacement with another name", arguments: Setup.all)
    func renewal(_ setup: Setup) throws {
        let tls = try TLSTest.server()
        try TLSTest.with(setup, tls, try TLSTest.client(), TLSTest.greeting()) { connector, _ in
            #expect(try connector.connectForTickets().isResumed == false)
            try tls.replace([Self.identity("DNS:localhost,DNS:more.test")])
            let info = try connector.connect().get()
            #expect(info.isResumed)
        }
    }

    @Test(
        "a ticket of a server without clients' certificates is none where they are required",
        arguments: Setup.single)
    func ticketsByVerification(_ setup: Setup) throws {
        let own = try TestCertificate(names: "DNS:client.example")
        let keys = [try TLSTickets.Key([UInt8](repeating: 9, count: 80))]
        let identity = try TLSIdentity(chain: own.chain, key: own.key)
        for isRequired in [false, true] {
            let client = try TLSTest.client { $0.identity = identity }
            let first = try TLSTest.server { $0.tickets = .keys(keys) }
            let second = try TLSTest.server {
                $0.tickets = .keys(keys)
                if isRequired { $0.clientCertificates = .required(.certificates(own.chain)) }
            }
            let address = try TLSTest.with(setup, first, client, TLSTest.greeting()) {
                connector, server in
                _ = try connector.connectForTickets()
                return server.addresses[0]
            }
            let verified = Shared<[Bool]>([])
            let handler = TestHandler(open: { connection in
                verified.update { $0.append(connection.tls?.isVerified ?? false) }
                return .none
            })
            let server = try Server(
                handler, listen: [address], options: setup.options { $0.tls = second })
            try serve(server) { server in
                let connector = try Connector(setup, client, server.addresses[0])
                defer { connector.client.stop() }
                #expect(try connector.connect().get().isResumed == !isRequired)
                try eventually("the server's side") { verified.value == [isRequired] }
            }
        }
    }

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
            for isResumed in [false, true, true] {
                let info = try connector.connect(as: "old.example").get()
                #expect(info.version == .v12)
                #expect(info.isResumed == isResumed)
            }
            try eventually("the server's side") { seen.value.count == 3 }
            #expect(seen.value.map(\.isResumed) == [false, true, true])
            #expect(seen.value.map(\.serverName) == Array(repeating: "old.example", count: 3))
        }
    }

    /// The server refuses a client of TLS 1.2 before the end of the client's handshake.
    @Test(
        "a client that accepts any certificate has the server's reason for a refusal",
        arguments: Setup.single)
    func reason(_ setup: Setup) throws {
        let certificate = try TestCertificate(kind: Self.oldCurve)
        let tls = try TLSTest.server(
            TLSIdentity(chain: certificate.chain, key: certificate.key)
        ) { $0.clientCertificates = .required(.certificates(certificate.chain)) }
        let client = try TLSTest.client {
            $0.groups = "X25519:secp256k1"
            $0.trust = .anyCertificate
        }
        try TLSTest.with(setup, tls, client) { connector, _ in
            let text = try connector.failure()
            #expect(text.contains("handshake failure"), "\(text)")
        }
    }
}
