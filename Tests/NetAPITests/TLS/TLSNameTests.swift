/// Tests of the name of a `tls://` address: the host's is sent and verified, and the race is over
/// before the handshake begins.
import MillraceTestSupport
import NetAPI
import NetTLS
import Testing

@Suite struct TLSNameTests {
    private static func withServer(
        _ setup: Setup, names: String, hosts: [String],
        _ body: (Client, UInt16, Shared<[String]>) throws -> Void
    ) throws {
        let certificate = try TestCertificate(names: names)
        let identity = try TLSIdentity(chain: certificate.chain, key: certificate.key)
        let seen = Shared<[String]>([])
        let handler = TestHandler(open: { connection in
            seen.update { $0.append(connection.tls?.serverName ?? "none") }
            return .none
        })
        let options = setup.options { $0.tls = try? TLSTest.server(identity) }
        let server = try Server(handler, listen: TLSTest.port, options: options)
        try serve(server) { server in
            let port = try #require(server.addresses[0].port)
            let tls = try TLSTest.client(trusting: certificate)
            try NamedConnectTests.withClient(
                setup, TestResolver(hosts), delay: .seconds(10), { $0.tlsClient = tls }
            ) { client in
                try body(client, port, seen)
            }
        }
    }

    @Test("the host's name is sent and verified, without ?name=", arguments: Setup.all)
    func name(_ setup: Setup) throws {
        try Self.withServer(setup, names: "DNS:peer.test", hosts: ["127.0.0.2", "127.0.0.1"]) {
            client, port, seen in
            for address in ["tls://peer.test:\(port)", "tls4://peer.test.:\(port)"] {
                let peer = try NamedConnectTests.outcome(client, try Address(parsing: address))
                #expect(try peer.get().hasSuffix("://127.0.0.1:\(port)"))
            }
            try eventually("both are open") { seen.value.count == 2 }
            #expect(seen.value == ["peer.test", "peer.test"])
            let other = "tls://other.test:\(port)?name=peer.test"
            _ = try NamedConnectTests.outcome(client, try Address(parsing: other)).get()
        }
    }

    @Test("localhost is verified by its name", arguments: Setup.single)
    func localhost(_ setup: Setup) throws {
        try Self.withServer(setup, names: "DNS:localhost", hosts: []) { client, port, seen in
            let address = try Address(parsing: "tls://localhost:\(port)")
            _ = try NamedConnectTests.outcome(client, address).get()
            try eventually("it is open") { seen.value == ["localhost"] }
            let digits = try Address(parsing: "tls://127.0.0.1:\(port)")
            let error = try NamedConnectTests.error(client, digits)
            #expect(error.code == .insecure)
        }
    }

    @Test("a handshake that fails is the connect's error, at once", arguments: Setup.all)
    func failure(_ setup: Setup) throws {
        let hosts = ["127.0.0.2", "127.0.0.1", "127.0.0.3"]
        try Self.withServer(setup, names: "DNS:other.test", hosts: hosts) { client, port, _ in
            let address = try Address(parsing: "tls://peer.test:\(port)")
            let error = try NamedConnectTests.error(client, address, timeout: .seconds(5))
            #expect(error.code == .insecure && error.step == .securing)
            #expect(error.cause.contains("peer.test") && error.cause.contains("127.0.0.1"))
            #expect(client.statistics.handshakeFailures == 1)
        }
    }

    /// A listener that accepts and says nothing: the socket is connected, the handshake is not.
    @Test("a silent handshake ends at the deadline, or at a cancel", arguments: Setup.all)
    func silentHandshake(_ setup: Setup) async throws {
        let listener = try RawListener()
        let port = try #require(listener.address.port)
        let address = try Address(parsing: "tls://peer.test:\(port)")
        let options = setup.options {
            $0.names.resolver = TestResolver(["127.0.0.1", "127.0.0.2"])
            $0.tlsClient = TestTLS.client
        }
        let client = try Client(TestHandler(), options: options)
        try bounded("Client.start") { try client.start() }
        let error = try NamedConnectTests.error(client, address, timeout: .milliseconds(200))
        #expect(error.code == .timedOut && error.step == .securing)
        let task = Task { try await client.connect(to: address, timeout: .seconds(600)) }
        try eventually("it is connected") { client.connectionCount == 1 }
        task.cancel()
        let fate = try await patiently("the cancel") {
            await asyncWord {
                _ = try await task.value
                return "connected"
            }
        }
        #expect(fate == "CancellationError()")
        try eventually("none is left") { client.connectionCount == 0 }
        try await patiently("await Client.stop") { await client.stop() }
    }
}
