/// Tests of handshakes: what both sides agree on, which peers they trust, and what they refuse.
import Glibc
import MillraceTestSupport
import NetAPI
import NetTLS
import Testing

@Suite struct TLSHandshakeTests {
    @Test("a connection knows what was agreed, from onOpen on", arguments: Setup.all)
    func agreement(_ setup: Setup) throws {
        let seen = Shared<TLSInfo?>(nil)
        let handler = TestHandler(open: { connection in
            seen.value = connection.tls
            return .none
        })
        let tls = try TLSTest.server { $0.applicationProtocols = ["h2", "http/1.1"] }
        let client = try TLSTest.client { $0.applicationProtocols = ["http/1.1", "h2"] }
        try TLSTest.with(setup, tls, client, handler) { connector, _ in
            let info = try connector.connect(as: "localhost").get()
            #expect(info.version == .v13)
            #expect(info.applicationProtocol == "h2")
            #expect(info.isVerified)
            #expect(info.peerCertificates.count == 1)
            try eventually("the server's side") { seen.value != nil }
            #expect(seen.value?.serverName == "localhost")
            #expect(seen.value?.applicationProtocol == "h2")
            #expect(seen.value?.isVerified == false)
            #expect(seen.value?.cipher == info.cipher)
        }
    }

    @Test("the names of a server choose among its identities", arguments: Setup.single)
    func names(_ setup: Setup) throws {
        let (one, two) = (
            try TestCertificate(names: "DNS:one.example"),
            try TestCertificate(names: "DNS:two.example,DNS:*.wild.example")
        )
        let tls = try TLSTest.server(
            TLSIdentity(chain: one.chain, key: one.key),
            TLSIdentity(chain: two.chain, key: two.key))
        let first = try TLSTest.client(trusting: one)
        let second = try TLSTest.client(trusting: two)
        try TLSTest.with(setup, tls, first) { connector, server in
            #expect(try connector.connect(as: "one.example").get().isVerified)
            let other = try Connector(setup, second, server.addresses[0])
            defer { other.client.stop() }
            #expect(try other.connect(as: "two.example").get().isVerified)
            #expect(try other.connect(as: "A.wild.example").get().isVerified)
            // A star is for one label, and a name without a certificate gets the first.
            #expect(try other.failure(as: "a.b.wild.example").contains("insecure"))
            #expect(try other.failure(as: "three.example").contains("insecure"))
        }
    }

    @Test(
        "a certificate for another name or address is refused with a remedy",
        arguments: Setup.single)
    func wrongName(_ setup: Setup) throws {
        let certificate = try TestCertificate(names: "DNS:a.example")
        let tls = try TLSTest.server(
            TLSIdentity(chain: certificate.chain, key: certificate.key))
        try TLSTest.with(setup, tls, try TLSTest.client(trusting: certificate)) { connector, _ in
            let name = try connector.failure(as: "b.example")
            #expect(name.contains("ostname mismatch") && name.contains("?name="), "\(name)")
            let address = try connector.failure()
            #expect(address.contains("IP address mismatch"), "\(address)")
            #expect(address.contains("?name=") || address.contains("name the server"), "\(address)")
            #expect(try connector.connect(as: "a.example").get().isVerified)
        }
        try TLSTest.with(
            setup, tls, try TLSTest.client(trusting: certificate) { $0.verifiesName = false }
        ) { connector, _ in
            let info = try connector.connect(as: "b.example").get()
            #expect(info.isVerified)
        }
    }

    @Test("a certificate that is not trusted is refused", arguments: Setup.single)
    func untrusted(_ setup: Setup) throws {
        let other = try TestCertificate()
        let failures = Shared<[String]>([])
        try TLSTest.with(setup, try TLSTest.server(), try TLSTest.client(trusting: other)) {
            connector, server in
            failures.value = [try connector.failure()]
            try eventually("the server counts it") {
                server.server.statistics.handshakeFailures == 1
            }
            #expect(server.server.statistics.handshakes == 0)
        }
        #expect(failures.value[0].contains("self-signed certificate"), "\(failures.value)")
    }

    @Test(
        "clients without a certificate are refused where one is required", arguments: Setup.single)
    func clientCertificates(_ setup: Setup) throws {
        let own = try TestCertificate(names: "DNS:client.example")
        let verified = Shared<[Bool]>([])
        let identity = try TLSIdentity(chain: own.chain, key: own.key)
        for isRequired in [true, false] {
            let tls = try TLSTest.server {
                let trust = TLSTrust.certificates(own.chain)
                $0.clientCertificates = isRequired ? .required(trust) : .optional(trust)
            }
            let named = try TLSTest.client { $0.identity = identity }
            let handler = TestHandler(open: { connection in
                let isVerified = connection.tls?.isVerified ?? false
                verified.update { $0.append(isVerified) }
                return .none
            })
            try TLSTest.with(setup, tls, named, handler) { connector, server in
                _ = try connector.connect().get()
                try eventually("a verified client") { verified.value == [true] }
                let bare = try Connector(setup, try TLSTest.client(), server.addresses[0])
                defer { bare.client.stop() }
                // With TLS 1.3 a client has finished before the server refuses it.
                _ = try bare.connect()
                try eventually("the other client's end") {
                    let statistics = server.server.statistics
                    return isRequired
                        ? statistics.handshakeFailures == 1 : verified.value == [true, false]
                }
            }
            verified.value = []
        }
    }

    @Test(
        "without a common protocol the handshake fails, unless the server goes on",
        arguments: Setup.single)
    func protocols(_ setup: Setup) throws {
        for goesOn in [false, true] {
            let tls = try TLSTest.server {
                $0.applicationProtocols = ["h2"]
                $0.withoutCommonProtocol = goesOn ? .goOn : .refuse
            }
            let client = try TLSTest.client { $0.applicationProtocols = ["smtp"] }
            try TLSTest.with(setup, tls, client) { connector, _ in
                let text = try connector.failure()
                #expect(text.contains(goesOn ? "connected" : "no application protocol"), "\(text)")
            }
        }
    }

    @Test("each version serves, and one below the minimum is refused", arguments: Setup.single)
    func versions(_ setup: Setup) throws {
        let (old, new) = (TLSVersion.v12, TLSVersion.v13)
        for (server, cipher) in [(old, "ECDHE-ECDSA-AES128-GCM-SHA256"), (new, nil)] {
            let tls = try TLSTest.server {
                $0.minimumVersion = server
                $0.cipherList = cipher
            }
            try TLSTest.with(setup, tls, try TLSTest.client()) { connector, _ in
                let info = try connector.connect().get()
                #expect(info.version == .v13)
            }
        }
        for kind in [TestCertificate.ec, TestCertificate.rsa] {
            let certificate = try TestCertificate(kind: kind)
            let tls = try TLSTest.server(
                TLSIdentity(chain: certificate.chain, key: certificate.key))
            try TLSTest.with(setup, tls, try TLSTest.client(trusting: certificate)) {
                connector, _ in
                let info = try connector.connect().get()
                #expect(info.isVerified)
            }
        }
    }

    @Test("a second connection resumes the first one's session, on any loop", arguments: Setup.all)
    func resumption(_ setup: Setup) throws {
        let (tls, client) = (try TLSTest.server(), try TLSTest.client())
        try TLSTest.with(setup, tls, client, TLSTest.greeting()) { connector, server in
            #expect(try connector.connectForTickets().isResumed == false)
            for _ in 0..<6 {
                let isResumed = try connector.connectForTickets().isResumed
                #expect(isResumed)
            }
        }
    }

    @Test("tickets of one server open at another with the same keys", arguments: Setup.single)
    func sharedTickets(_ setup: Setup) throws {
        let keys = [try TLSTickets.Key([UInt8](repeating: 7, count: 80))]
        let servers = try (0..<2).map { _ in
            try TLSTest.server { $0.tickets = .keys(keys) }
        }
        let client = try TLSTest.client()
        let port = Shared<Address?>(nil)
        try TLSTest.with(setup, servers[0], client, TLSTest.greeting()) { connector, server in
            port.value = server.addresses[0]
            _ = try connector.connectForTickets()
        }
        let second = try Server(
            TestHandler(), listen: [try #require(port.value)],
            options: setup.options { $0.tls = servers[1] })
        try serve(second) { server in
            let connector = try Connector(setup, client, server.addresses[0])
            defer { connector.client.stop() }
            #expect(try connector.connect().get().isResumed)
        }
    }

    @Test("replaced certificates serve new connections, and old ones go on", arguments: Setup.all)
    func replacement(_ setup: Setup) throws {
        let next = try TestCertificate()
        let tls = try TLSTest.server { $0.tickets = .none }
        try TLSTest.with(setup, tls, try TLSTest.client()) { connector, server in
            let old = try server.connect()
            #expect(try old.roundTrip("before"))
            #expect(throws: NetError.self) {
                try tls.replace([TLSIdentity(chain: next.chain, key: TestTLS.certificate.key)])
            }
            #expect(try connector.connect().get().isVerified)
            try tls.replace([TLSIdentity(chain: next.chain, key: next.key)])
            #expect(try connector.failure().contains("self-signed"))
            let other = try Connector(
                setup, try TLSTest.client(trusting: next), server.addresses[0])
            defer { other.client.stop() }
            #expect(try other.connect().get().isVerified)
            #expect(try old.roundTrip("after"))
        }
    }

    @Test("handshakes on a pool serve as those on the loops do", arguments: Setup.all)
    func threads(_ setup: Setup) throws {
        let tls = try TLSTest.server { $0.handshakeThreads = 2 }
        let client = try TLSTest.client { $0.handshakeThreads = 1 }
        try TLSTest.with(setup, tls, client) { connector, server in
            let clients = try (0..<20).map { _ in try server.connect() }
            for client in clients { #expect(try client.roundTrip("over a pool")) }
            for _ in 0..<5 { _ = try connector.connect().get() }
            try eventually("all counted") { server.server.statistics.handshakes == 25 }
        }
    }

    @Test("settings that cannot work are refused with their name")
    func settings() throws {
        func text(_ body: () throws -> some Any) -> String {
            do { return "\(try body())" } catch { return "\(error)" }
        }
        #expect(text { try TLSTest.server { $0.cipherList = "none" } }.contains("cipherList"))
        #expect(text { try TLSTest.server { $0.groups = "none" } }.contains("groups"))
        #expect(text { try TLSTest.server { $0.cipherSuites = "none" } }.contains("cipherSuites"))
        #expect(
            text { try TLSTest.server { $0.handshakesAtOnce = 0 } }.contains("handshakesAtOnce"))
        #expect(
            text { try TLSTest.server { $0.handshakeTimeout = .zero } }.contains("handshakeTimeout")
        )
        #expect(
            text { try TLSTest.server { $0.applicationProtocols = [""] } }.contains("Protocols"))
        #expect(text { try TLSIdentity(chain: "x", key: "y") }.contains("PEM"))
        #expect(text { try TLSIdentity.files(chain: "/nowhere", key: "/x") }.contains("/nowhere"))
        let other = try TestCertificate()
        #expect(
            text { try TLSIdentity(chain: other.chain, key: TestTLS.certificate.key) }
                .contains("not the certificate's"))
        let bare = Options()
        #expect(
            text { try Server(TestHandler(), listen: TLSTest.port, options: bare) }
                .contains("import NetTLS"))
    }
}
