/// Listeners behind a proxy: the client's address comes from the PROXY header.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ProxiedTests {
    private static let line = Array("PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n".utf8)
    private static let binary: [UInt8] =
        Array("\r\n\r\n\0\r\nQUIT\n".utf8)
        + [0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 2, 0x30, 0x39, 0x01, 0xBB]
    private static let check = Array("\r\n\r\n\0\r\nQUIT\n".utf8) + [0x20, 0, 0, 0]

    /// Answers each request with the three addresses.
    private static func telling() -> TestHandler {
        TestHandler(traffic: { connection in
            _ = connection.next()
            let proxy = connection.proxyAddress?.description ?? "none"
            connection.write(
                "\(connection.remoteAddress) \(connection.localAddress) \(proxy)")
            return .close
        })
    }

    private func listening(_ text: String) throws -> Address { try Address(parsing: text) }

    private func plain(_ address: Address) throws -> Address {
        try Address(parsing: String(address.description.dropLast("?proxy".count)))
    }

    private var proxied: Address {
        TestTLS.isOn ? "tls://127.0.0.1:0?proxy" : "tcp://127.0.0.1:0?proxy"
    }

    @Test(
        "the client's address is that of the header", arguments: Setup.all, [line, binary])
    func addresses(_ setup: Setup, _ header: [UInt8]) throws {
        try withServer(setup, Self.telling(), listen: [proxied]) { server in
            #expect(server.addresses[0].description.hasSuffix("?proxy"))
            let client = try TestClient(to: plain(server.addresses[0]), first: header)
            let own = try client.localText
            try client.send("?")
            let line = try client.receiveTextUntilEnd().text
            #expect(line == "tcp://192.0.2.1:12345 tcp://198.51.100.2:443 \(own)")
        }
    }

    @Test("a health check of the proxy has the proxy's address", arguments: Setup.all)
    func healthCheck(_ setup: Setup) throws {
        try withServer(setup, Self.telling(), listen: [proxied]) { server in
            let address = try plain(server.addresses[0])
            let client = try TestClient(to: address, first: Self.check)
            let own = try client.localText
            try client.send("?")
            let line = try client.receiveTextUntilEnd().text
            #expect(line == "\(own) tcp://127.0.0.1:\(address.port ?? 0) \(own)")
        }
    }

    @Test(
        "a header and a request in one piece, or byte by byte, are served alike",
        arguments: Setup.receiving, [1, 5, 4096])
    func pieces(_ setup: Setup, _ size: Int) throws {
        try withServer(setup, listen: ["tcp://127.0.0.1:0?proxy", "tcp://127.0.0.1:0"]) { server in
            for header in [Self.line, Self.binary] {
                let client = try TestClient(to: plain(server.addresses[0]))
                try client.send(header + Array("hello".utf8), chunk: size)
                #expect(try client.receive(exactly: 5) == Array("hello".utf8))
                #expect(try client.roundTrip("again"))
            }
            // A listener without the mark takes a header for the client's bytes.
            let direct = try TestClient(to: server.addresses[1])
            try direct.send(Self.line)
            #expect(try direct.receive(exactly: Self.line.count) == Self.line)
        }
    }

    @Test("after the client's reset, onClose still sees both addresses", arguments: Setup.all)
    func addressesAfterReset(_ setup: Setup) throws {
        let seen = Shared("")
        let handler = TestHandler(close: { connection, _ in
            let proxy = connection.proxyAddress?.description ?? "none"
            seen.value = "\(connection.remoteAddress) \(proxy)"
            return .none
        })
        try withServer(setup, handler, listen: ["tcp://127.0.0.1:0?proxy"]) { server in
            let client = try TestClient(to: plain(server.addresses[0]), first: Self.line)
            let own = try client.localText
            #expect(try client.roundTrip("hello"))
            client.reset()
            try handler.log.waitFor(.close)
            #expect(seen.value == "tcp://192.0.2.1:12345 \(own)")
        }
    }

    @Test("another protocol is refused, and others are served on", arguments: Setup.all)
    func otherProtocol(_ setup: Setup) throws {
        try withServer(setup, listen: ["tcp://127.0.0.1:0?proxy"]) { server in
            let address = try plain(server.addresses[0])
            let stranger = try TestClient(to: address)
            try stranger.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            _ = try stranger.receiveEnd()
            let client = try TestClient(to: address, first: Self.line)
            #expect(try client.roundTrip("hello"))
            #expect(server.server.statistics.handshakeFailures == 1)
        }
    }

    @Test("a client without a header is closed in time and holds nothing up", arguments: Setup.all)
    func silence(_ setup: Setup) throws {
        // Long enough for the header of the client that sends one.
        try withGrowingTime(from: .milliseconds(300)) { time in
            let options = setup.options { $0.timeouts.proxyHeader = time }
            let listen: [Address] = ["tcp://127.0.0.1:0?proxy"]
            let handler = TestHandler()
            try withServer(setup, handler, listen: listen, options: options) { server in
                let address = try plain(server.addresses[0])
                let silent = try TestClient(to: address)
                let slow = try TestClient(to: address)
                try slow.send("PROXY ")
                let client = try TestClient(to: address, first: Self.line)
                try must(try client.roundTrip("hello"), "other bytes came back")
                _ = try silent.receiveEnd()
                _ = try slow.receiveEnd()
                #expect(try client.roundTrip("again"))
                #expect(handler.log.count(.open) == 1)
            }
        }
    }

    @Test("the limit of a host counts clients, not the proxy", arguments: Setup.all)
    func hosts(_ setup: Setup) throws {
        let options = setup.options { $0.limits.connectionsPerHost = 1 }
        try withServer(setup, listen: ["tcp://127.0.0.1:0?proxy"], options: options) { server in
            let address = try plain(server.addresses[0])
            let clients = try (1...3).map { number in
                try TestClient(
                    to: address,
                    first: Array("PROXY TCP4 192.0.2.\(number) 127.0.0.1 1 2\r\n".utf8))
            }
            for client in clients { #expect(try client.roundTrip("hello")) }
            let second = try TestClient(to: address, first: Self.line)
            _ = try second.receiveEnd()
            #expect(server.server.statistics.hostRefusals == 1)
            clients[0].close()
            try eventually("its place is free") { server.server.connectionCount == 2 }
            let third = try TestClient(to: address, first: Self.line)
            #expect(try third.roundTrip("hello"))
        }
    }

    @Test("a Unix listener, and one added later, expect headers too", arguments: Setup.all)
    func otherListeners(_ setup: Setup) throws {
        let path = TemporaryPath.make("sock")
        try withServer(setup, Self.telling(), listen: [anyPort]) { server in
            try server.server.listen(on: listening("unix://\(path)?proxy"))
            let added = try server.server.listen(on: "tcp://127.0.0.1:0?proxy")
            for address in [try listening("unix://\(path)"), try plain(added)] {
                let client = try TestClient(to: address, first: Self.binary)
                try client.send("?")
                let line = try client.receiveTextUntilEnd().text
                #expect(line.hasPrefix("tcp://192.0.2.1:12345 tcp://198.51.100.2:443 "))
            }
            try server.server.stopListening(on: added)
        }
    }

    @Test("a connect to such an address fails with the remedy", arguments: Setup.single)
    func connect(_ setup: Setup) throws {
        let client = try Client(TestHandler(), options: setup.options())
        try client.start()
        let outcome = Shared("")
        client.connect(to: "tcp://127.0.0.1:9?proxy") { result in
            if case .failure(let error) = result { outcome.value = error.description }
        }
        try eventually("the outcome") { !outcome.value.isEmpty }
        #expect(outcome.value.contains("connect without ?proxy"))
        try bounded("stop") { client.stop() }
    }

    @Test(
        "only stream addresses have the mark",
        arguments: [
            "udp://127.0.0.1:1?proxy", "tls://127.0.0.1:1?name=a.example?proxy",
            "tcp://127.0.0.1:1?proxy?proxy", "tcp://127.0.0.1:1?proxy=1", "?proxy",
        ])
    func marks(_ text: String) {
        #expect(throws: NetError.self) { _ = try Address(parsing: text) }
    }

    @Test("an address with the mark is another address")
    func equality() {
        #expect(Address("tcp://127.0.0.1:80?proxy") != "tcp://127.0.0.1:80")
        #expect(Address("tcp://127.0.0.1:80?proxy") == "tcp4://127.0.0.1:80?proxy")
    }
}
