/// Tests of addresses: the kernel's real ones, from `onOpen` to `onClose`.
import CMillraceLinux
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct AddressTests {
    /// Records a connection's addresses in each of its callbacks.
    private static func recorder(_ seen: Shared<[String]>) -> TestHandler {
        let note: @Sendable (Connection) -> Void = { connection in
            let text = "\(connection.localAddress) <- \(connection.remoteAddress)"
            seen.update { $0.append(text) }
        }
        return TestHandler(
            open: { connection in
                note(connection)
                return .none
            },
            traffic: { connection in
                note(connection)
                return try TestHandler.echo(connection)
            },
            close: { connection, _ in
                note(connection)
                return .none
            })
    }

    /// The name of a path may wait for a lock, and `await listen(on:)` then takes a thread.
    @Test("an inherited socket is no path, also if it is bound to one")
    func paths() {
        #expect(Address.unix("/tmp/socket").isPath)
        let others: [Address] = [
            .inherited(3), .inheritedDatagrams(3), "tls+fd://3", "unix://@name", "tcp://:80",
        ]
        for address in others { #expect(!address.isPath, "\(address)") }
    }

    @Test(
        "a connection reports the addresses of both sockets until onClose",
        arguments: Setup.all, ["tcp://127.0.0.1:0", "tcp://[::1]:0"])
    func addressesAreThoseOfBothSocketsUntilOnClose(_ setup: Setup, _ listen: String) throws {
        let seen = Shared<[String]>([])
        let handler = Self.recorder(seen)
        try withServer(setup, handler, listen: [try Address(parsing: listen)]) { server in
            for number in 0..<6 {
                let client = try server.connect()
                let peer = try addressText(of: client.descriptor, peer: true)
                let expected = "\(peer) <- \(try client.localText)"
                #expect(peer == "\(server.addresses[0])")
                #expect(try client.roundTrip("x"))
                if number % 2 == 0 { client.close() } else { client.reset() }
                try handler.log.waitFor(.close, count: number + 1)
                #expect(seen.value == [expected, expected, expected])
                seen.value = []
            }
        }
    }

    @Test(
        "the local address of a connection is not the wildcard of its listener",
        arguments: Setup.all)
    func theLocalAddressIsNotTheWildcardThatWasListenedOn(_ setup: Setup) throws {
        let seen = Shared<[String]>([])
        try withServer(setup, Self.recorder(seen), listen: ["tcp://0.0.0.0:0"]) { server in
            let port = try #require(server.addresses[0].port)
            let client = try TestClient(to: .tcp("127.0.0.1", port: port))
            #expect(try client.roundTrip("x"))
            #expect(seen.value.first?.hasPrefix("tcp://127.0.0.1:\(port) <- ") == true)
        }
    }

    @Test(
        "port zero becomes a single port for each address with any number of loops",
        arguments: Setup.all, [false, true])
    func portZeroBecomesOnePortWhateverTheLoops(_ setup: Setup, _ reusePort: Bool) throws {
        let listen: [Address] = ["tcp://127.0.0.1:0", "tcp://127.0.0.1:0"]
        let options = setup.options { $0.reusePort = reusePort }
        try withServer(setup, listen: listen, options: options) { server in
            let ports = server.addresses.compactMap(\.port)
            #expect(ports.count == 2 && Set(ports).count == 2 && !ports.contains(0))
            #expect(server.addresses.map(\.description) == ports.map { "tcp://127.0.0.1:\($0)" })
            for place in 0..<2 {
                let client = try server.connect(place)
                #expect(try client.roundTrip("x"))
            }
        }
    }

    @Test("an IPv6 wildcard listener also serves IPv4 clients", arguments: Setup.all)
    func anIPv6WildcardServesIPv4Too(_ setup: Setup) throws {
        let seen = Shared<[String]>([])
        try withServer(setup, Self.recorder(seen), listen: ["tcp://[::]:0"]) { server in
            let port = try #require(server.addresses[0].port)
            for host in ["127.0.0.1", "::1"] {
                let client = try TestClient(to: .tcp(host, port: port))
                #expect(try client.roundTrip("x"))
                let clientPort = try client.localText.split(separator: ":").last ?? ""
                // Searches all entries: the last may belong to the previous client, which still
                // closes on another loop. The expected form is the client's own, not that of the
                // other address family.
                let shown = host.contains(":") ? "[\(host)]" : host
                let expected = "tcp://\(shown):\(port) <- tcp://\(shown):\(clientPort)"
                #expect(seen.value.contains { $0 == expected }, "\(seen.value)")
            }
        }
    }

    @Test("a tcp6 listener serves IPv6 clients and refuses IPv4 clients", arguments: Setup.all)
    func tcp6ServesIPv6Only(_ setup: Setup) throws {
        try withServer(setup, listen: ["tcp6://[::]:0"]) { server in
            let port = try #require(server.addresses[0].port)
            let client = try TestClient(to: .tcp("::1", port: port))
            #expect(try client.roundTrip("x"))
            #expect(throws: SystemFailure.self) {
                try TestClient(to: .tcp("127.0.0.1", port: port))
            }
        }
    }

    @Test("a tcp4 listener serves IPv4 clients", arguments: Setup.all)
    func tcp4ServesIPv4(_ setup: Setup) throws {
        try withServer(setup, listen: ["tcp4://127.0.0.1:0"]) { server in
            let client = try server.connect()
            #expect(try client.roundTrip("x"))
        }
    }

    @Test("a Unix connection reports the path of its listener", arguments: Setup.all)
    func unixConnectionsKnowThePathTheyCameBy(_ setup: Setup) throws {
        let seen = Shared<[String]>([])
        let path = TemporaryPath.make()
        try withServer(setup, Self.recorder(seen), listen: [.unix(path)]) { server in
            #expect(server.addresses.map(\.description) == ["unix://\(path)"])
            let client = try server.connect()
            #expect(try client.roundTrip("x"))
            client.close()
            try server.waitUntilEmpty()
            #expect(seen.value.count == 3)
            #expect(seen.value.allSatisfy { $0.hasPrefix("unix://\(path) <- ") })
        }
    }

    @Test("an address prints the same text that it was parsed from")
    func addressesAreWrittenAsTheyAreRead() throws {
        for text in [
            "tcp://127.0.0.1:9000", "tcp://[::1]:80", "tcp://0.0.0.0:0", "unix:///run/app.sock",
            "unix://@app",
        ] {
            #expect(try Address(parsing: text).description == text)
            #expect(Address(stringLiteral: text).description == text)
        }
        #expect(Address.tcp("127.0.0.1", port: 9000).description == "tcp://127.0.0.1:9000")
        #expect(Address.tcp("::1", port: 9000).description == "tcp://[::1]:9000")
        #expect(Address.unix("/run/app.sock").description == "unix:///run/app.sock")
        #expect(Address.tcp("127.0.0.1", port: 9000).port == 9000)
        #expect(Address.unix("/run/app.sock").port == nil)
        #expect(try Address(parsing: "tcp://127.0.0.1:65535").port == 65_535)
        #expect(Address.tcp("127.0.0.1", port: 1) == "tcp://127.0.0.1:1")
    }
}
