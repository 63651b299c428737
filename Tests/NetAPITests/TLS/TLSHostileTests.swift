/// Tests of peers that break TLS: cut streams, wrong records, floods, silence.
import CMillraceLinux
import Glibc
import MillraceTestSupport
import NetAPI
import NetTLS
import Testing

@Suite struct TLSHostileTests {
    /// A client that speaks no TLS to a port with it.
    private func rawClient(_ server: TestServer) throws -> TestClient {
        try TestClient(to: .tcp("127.0.0.1", port: server.addresses[0].port ?? 0))
    }

    private func with(
        _ setup: Setup, _ handler: TestHandler = TestHandler(),
        change: (inout TLSServer.Settings) -> Void = { _ in },
        _ body: (TestServer) throws -> Void
    ) throws {
        let tls = try TLSTest.server(change: change)
        let options = setup.options { $0.tls = tls }
        try withServer(setup, handler, listen: [TLSTest.port], options: options, body)
    }

    @Test("another protocol's first bytes are answered by an alert", arguments: Setup.all)
    func plainBytes(_ setup: Setup) throws {
        let handler = TestHandler()
        try with(setup, handler) { server in
            for text in ["GET / HTTP/1.1\r\n\r\n", "*1\r\n$4\r\nPING\r\n", "\0\0\0\0\0\0\0\0\0\0"] {
                let client = try rawClient(server)
                try client.send(text)
                let (bytes, end) = try client.receiveUntilEnd()
                #expect(bytes.first == 21, "\(text): \(bytes)")
                #expect(end == .clean)
            }
            #expect(server.server.statistics.handshakeFailures == 3)
        }
        #expect(handler.log.count(.open) == 0)
    }

    @Test("a handshake that does not go on ends at its deadline", arguments: Setup.all)
    func stalled(_ setup: Setup) throws {
        let handler = TestHandler()
        try with(setup, handler, change: { $0.handshakeTimeout = .milliseconds(300) }) { server in
            let begin = ContinuousClock.now
            let (silent, dripping) = (try rawClient(server), try rawClient(server))
            let drip = Worker {
                for byte in [UInt8]([22, 3, 1, 0, 200]) + [UInt8](repeating: 0, count: 60) {
                    do { try dripping.send([byte]) } catch { return }
                    pause(.milliseconds(20))
                }
            }
            _ = try silent.receiveUntilEnd()
            let time = begin.duration(to: .now)
            _ = try dripping.receiveUntilEnd()
            try drip.join("dripping")
            #expect(time > .milliseconds(250))
            try eventually("both counted") { server.server.statistics.handshakeFailures == 2 }
            try server.waitUntilEmpty()
        }
        #expect(handler.log.count(.open) == 0)
    }

    @Test(
        "a stream that is cut off is no end: its bytes are shown, its reason tells",
        arguments: Setup.all)
    func cutOff(_ setup: Setup) throws {
        for accepts in [false, true] {
            let handler = TestHandler()
            try with(setup, handler, change: { $0.acceptsUncleanEnd = accepts }) { server in
                let client = try server.connect()
                #expect(try client.roundTrip("whole"))
                shutdown(client.descriptor, Int32(SHUT_WR))
                // Our own stream is whole.
                #expect(try client.receiveEnd() == .clean)
                try handler.log.waitFor(.close)
            }
            #expect(handler.log.reasons == [accepts ? "peer" : "reset"])
        }
    }

    @Test("a stream that is cut while a task works is no end for it either", arguments: Setup.all)
    func cutOffTask(_ setup: Setup) throws {
        let gate = AsyncGate()
        let result = Shared("")
        let tls = try TLSTest.server()
        let server = try Server(
            listen: TLSTest.port, options: setup.options { $0.tls = tls }
        ) { connection in
            let first = try await connection.read()
            await gate.wait()
            do {
                result.value = try await connection.read() == nil ? "end" : "bytes"
            } catch let error as NetError {
                result.value = "\(error.code) behind \(first?.count ?? 0)"
            }
        }
        try serve(server) { server in
            let client = try server.connect()
            try client.send("whole")
            try eventually("the task works") { gate.guests == 1 }
            shutdown(client.descriptor, Int32(SHUT_WR))
            pause(.milliseconds(20))
            gate.open()
            try eventually("the end is seen") { result.value != "" }
        }
        #expect(result.value == "insecure behind 5")
    }

    @Test("a record with a wrong bit ends the connection with an alert", arguments: Setup.all)
    func wrongBit(_ setup: Setup) throws {
        let handler = TestHandler()
        try with(setup, handler) { server in
            let client = try server.connect()
            #expect(try client.roundTrip("right"))
            let tls = try #require(client.tls)
            #expect(Array("wrong".utf8).withUnsafeBytes { tls.seal($0) })
            _ = try tls.withUnsent { bytes in
                var copy = Array(bytes)
                copy[copy.count - 1] ^= 1
                _ = try copy.withUnsafeBytes { try client.sendPlain($0) }
                return bytes.count
            }
            let (bytes, end) = try client.receiveUntilEnd()
            #expect(bytes.isEmpty)
            #expect(end.isReset)
            #expect(tls.failure != nil, "no alert came")
            try handler.log.waitFor(.close)
            #expect(server.server.statistics.insecureCloses == 1)
        }
        #expect(handler.log.reasons == ["reset"])
    }

    @Test("a handshake in single bytes serves", arguments: Setup.all)
    func singleBytes(_ setup: Setup) throws {
        try with(setup) { server in
            let client = try rawClient(server)
            let tls = try ClientTLS()
            tls.take(UnsafeRawBufferPointer(start: nil, count: 0))
            while !tls.isEstablished {
                _ = try tls.withUnsent { bytes in
                    try client.drip(Array(bytes), every: .microseconds(50))
                    return bytes.count
                }
                var buffer = [UInt8](repeating: 0, count: 7)
                let count = recv(client.descriptor, &buffer, 7, 0)
                if count > 0 { buffer.withUnsafeBytes { tls.take(.init(rebasing: $0[..<count])) } }
                if count == 0 { throw SystemFailure("the handshake ended", 0) }
                if count < 0 { pause(.milliseconds(1)) }
            }
        }
    }

    static let chains = Result { (try TestChain(between: 5), try TestChain(between: 100)) }

    /// Each certificate of a chain costs the loop a verification.
    @Test("a client's chain of a hundred certificates is refused", arguments: Setup.all)
    func longChains(_ setup: Setup) throws {
        let (short, long) = try Self.chains.get()
        for (chain, isLong) in [(short, false), (long, true)] {
            let tls = try TLSTest.server {
                $0.clientCertificates = .required(.certificates(chain.root))
            }
            let identity = try TLSIdentity(chain: chain.chain, key: chain.key)
            let client = try TLSTest.client { $0.identity = identity }
            let handler = TestHandler()
            try TLSTest.with(setup, tls, client, handler) { connector, server in
                // With TLS 1.3 the client has finished before the server refuses it.
                _ = try connector.connect()
                let statistics = { server.server.statistics }
                try eventually("the server's verdict") {
                    statistics().handshakes + statistics().handshakeFailures == 1
                }
                #expect(statistics().handshakeFailures == (isLong ? 1 : 0))
                let plain = try server.connect(1)
                #expect(try plain.roundTrip("still served"))
            }
        }
    }

    @Test("a flood of key updates ends the connection", arguments: Setup.all)
    func keyUpdates(_ setup: Setup) throws {
        let handler = TestHandler()
        try with(setup, handler) { server in
            let client = try server.connect()
            #expect(try client.roundTrip("x"))
            let tls = try #require(client.tls)
            for number in 0..<20 {
                tls.updateKeys()
                #expect(try client.roundTrip("after update \(number)"))
            }
            for _ in 0..<200 { tls.updateKeys() }
            _ = try? client.send("y")
            let (_, end) = try client.receiveUntilEnd()
            #expect(end.isReset)
            try handler.log.waitFor(.close)
        }
        #expect(handler.log.reasons == ["reset"])
    }

    @Test("established connections are served beside hundreds of handshakes", arguments: Setup.all)
    func handshakesBesides(_ setup: Setup) throws {
        try with(setup, change: { $0.handshakesAtOnce = 4 }) { server in
            let old = try server.connect()
            let stalled = try (0..<3).map { _ in try rawClient(server) }
            let crowd = Worker {
                for _ in 0..<60 {
                    let client = try server.connect()
                    #expect(try client.roundTrip("new"))
                }
            }
            for number in 0..<200 { #expect(try old.roundTrip("old \(number)")) }
            try crowd.join("sixty new clients beside three that hold their turns")
            #expect(stalled.count == 3)
        }
    }

    @Test("a stop in the middle of handshakes ends them, and nobody waits", arguments: Setup.all)
    func stopInHandshakes(_ setup: Setup) throws {
        let handler = TestHandler()
        // Each wait for a client would last longer than the test's patience.
        let tls = try TLSTest.server { $0.handshakeTimeout = patience * 8 }
        let server = try Server(
            handler, listen: TLSTest.port, options: setup.options { $0.tls = tls })
        try bounded("start") { try server.start() }
        let clients = try (0..<20).map { _ in try rawClient(TestServer(server: server)) }
        for client in clients { try client.send([22, 3, 1, 0, 200]) }
        try eventually("all accepted") { server.connectionCount == 20 }
        try bounded("Server.stop") { server.stop(within: patience * 8) }
        withExtendedLifetime(clients) {}
        #expect(handler.log.count(.open) == 0)
    }
}
