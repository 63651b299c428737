/// Tests of TLS that begins on an open connection, by a protocol with one command for it.
import Glibc
import MillraceTestSupport
import NetAPI
import NetTLS
import Testing

@Suite struct StartTLSTests {
    /// Serves lines: `secure` is answered by `ok`, then TLS begins; others are echoed.
    private static func service(
        _ tls: TLSServer, failed: Shared<String>? = nil, secured: Shared<Int>? = nil
    ) -> TestHandler {
        TestHandler(traffic: { connection in
            while let line = try connection.nextLine() {
                guard String(decoding: line) == "secure" else {
                    connection.write(line)
                    connection.write("\n")
                    continue
                }
                connection.write("ok\n")
                do {
                    try connection.startTLS(tls) { connection in
                        secured?.update { $0 += 1 }
                        #expect(connection.tls?.version == .v13)
                        connection.write("welcome\n")
                    }
                    #expect(connection.tls == nil)
                } catch {
                    failed?.value = "\(error)"
                    throw error
                }
            }
            return .none
        })
    }

    /// Serves an upgrade, and runs `body` with a client that has not asked for it yet.
    private func with(
        _ setup: Setup, change: (inout TLSServer.Settings) -> Void = { _ in },
        failed: Shared<String> = Shared(""), _ body: (TestClient, TestHandler) throws -> Void
    ) throws {
        let handler = Self.service(try TLSTest.server(change: change), failed: failed)
        let options = setup.options { $0.tls = nil }
        try withServer(setup, handler, listen: ["tcp://127.0.0.1:0"], options: options) { server in
            let client = try server.connect()
            try body(client, handler)
            client.close()
        }
    }

    /// The handler of a client that asks for the upgrade, then sends `text`.
    private static func asking(
        _ tls: TLSClient, name: String?, text: String, received: Shared<[UInt8]>,
        info: Shared<TLSInfo?>
    ) -> TestHandler {
        TestHandler(
            open: { connection in
                connection.write("secure\n")
                return .none
            },
            traffic: { connection in
                guard connection.tls == nil else {
                    let bytes = [UInt8](copying: connection.next())
                    received.update { $0 += bytes }
                    return .none
                }
                guard let line = try connection.nextLine() else { return .none }
                #expect(String(decoding: line) == "ok")
                try connection.startTLS(tls, name: name) { connection in
                    info.value = connection.tls
                    connection.write(text)
                }
                // Waits for the handshake, and goes out behind the other bytes.
                connection.write("\n")
                return .none
            })
    }

    @Test("both sides upgrade, and everything behind it is sealed", arguments: Setup.all)
    func upgrade(_ setup: Setup) throws {
        for threads in [0, 1] {
            let secured = Shared(0)
            let tls = try TLSTest.server { $0.handshakeThreads = threads }
            let handler = Self.service(tls, secured: secured)
            let (received, info) = (Shared<[UInt8]>([]), Shared<TLSInfo?>(nil))
            let text = String(repeating: "012345678\n", count: 20_000)
            try withServer(setup, handler, listen: ["tcp://127.0.0.1:0"]) { server in
                let asking = Self.asking(
                    try TLSTest.client { $0.handshakeThreads = threads },
                    // The root's dot is no part of a certificate's name.
                    name: threads == 0 ? "localhost" : "localhost.", text: text,
                    received: received, info: info)
                let client = try Client(asking, options: setup.options())
                try client.start()
                defer { client.stop() }
                for _ in 0..<4 { client.connect(to: server.addresses[0]) { _ in } }
                let count = 4 * ("welcome\n\n".utf8.count + text.utf8.count)
                try eventually("all echoes") { received.value.count >= count }
                #expect(received.value.count == count)
                #expect(info.value?.isVerified == true)
                #expect(secured.value == 4)
                #expect(server.server.statistics.handshakes == 4)
            }
        }
    }

    @Test(
        "a command in one piece with the request is refused, not taken for a sealed one",
        arguments: Setup.all)
    func injection(_ setup: Setup) throws {
        let failed = Shared("")
        try with(setup, failed: failed) { client, handler in
            try client.send("secure\ninjected\n")
            let (text, _) = try client.receiveTextUntilEnd()
            #expect(text == "ok\n")
            try handler.log.waitFor(.close)
        }
        #expect(failed.value.contains("9 bytes are unread"), "\(failed.value)")
    }

    @Test("bytes that are no handshake end the connection, unseen", arguments: Setup.all)
    func plainBehind(_ setup: Setup) throws {
        try with(setup) { client, handler in
            try client.send("secure\n")
            #expect(try client.receiveText(exactly: 3) == "ok\n")
            try client.send("injected\n")
            let (bytes, end) = try client.receiveUntilEnd()
            #expect(bytes.first == 21, "no alert: \(bytes)")
            #expect(end == .clean)
            try handler.log.waitFor(.close)
            #expect(handler.log.reasons == ["reset"])
        }
    }

    @Test("a peer that ends or stays silent in the handshake is told once", arguments: Setup.all)
    func unfinished(_ setup: Setup) throws {
        for isSilent in [false, true] {
            try with(setup, change: { $0.handshakeTimeout = .milliseconds(200) }) {
                client, handler in
                try client.send("secure\n")
                #expect(try client.receiveText(exactly: 3) == "ok\n")
                if !isSilent { client.shutdownWrite() }
                _ = try client.receiveUntilEnd()
                try handler.log.waitFor(.close)
                #expect(handler.log.reasons == [isSilent ? "timeout" : "reset"])
            }
        }
    }

    @Test("a client refuses a server with another name", arguments: Setup.all)
    func wrongName(_ setup: Setup) throws {
        let handler = Self.service(try TLSTest.server())
        try withServer(setup, handler, listen: ["tcp://127.0.0.1:0"]) { server in
            let reason = Shared("")
            var asking = Self.asking(
                try TLSTest.client(), name: "other.example", text: "", received: Shared([]),
                info: Shared(nil))
            asking.close = { _, end in
                reason.value = "\(end)"
                return .none
            }
            let client = try Client(asking, options: setup.options())
            try client.start()
            defer { client.stop() }
            client.connect(to: server.addresses[0]) { _ in }
            try eventually("the refusal") { reason.value != "" }
            #expect(reason.value.contains("ostname mismatch"), "\(reason.value)")
            #expect(reason.value.contains("in startTLS"), "\(reason.value)")
            try handler.log.waitFor(.close)
        }
    }

    @Test("a handshake in single bytes, with data in its last piece", arguments: Setup.single)
    func singleBytes(_ setup: Setup) throws {
        try with(setup) { client, _ in
            try client.send("secure\n")
            #expect(try client.receiveText(exactly: 3) == "ok\n")
            let tls = try ClientTLS()
            tls.take(UnsafeRawBufferPointer(start: nil, count: 0))
            var text: [UInt8] = []
            var isAsked = false
            while !text.elementsEqual("welcome\nhello\n".utf8) {
                if tls.isEstablished && !isAsked {
                    isAsked = true
                    #expect(Array("hello\n".utf8).withUnsafeBytes { tls.seal($0) })
                }
                _ = try tls.withUnsent { bytes in
                    try client.drip(Array(bytes), every: .microseconds(50))
                    return bytes.count
                }
                var buffer = [UInt8](repeating: 0, count: 4_096)
                let count = recv(client.descriptor, &buffer, buffer.count, 0)
                if count > 0 { buffer.withUnsafeBytes { tls.take(.init(rebasing: $0[..<count])) } }
                if count == 0 { throw SystemFailure("the handshake ended", 0) }
                if count < 0 { pause(.milliseconds(1)) }
                let opened = buffer.withUnsafeMutableBytes { tls.receive(into: $0) }
                text += buffer.prefix(opened)
            }
        }
    }

    @Test("tasks upgrade on both sides", arguments: Setup.all)
    func tasks(_ setup: Setup) async throws {
        let (tls, trusted) = (try TLSTest.server(), try TLSTest.client())
        let server = try Server(listen: "tcp://127.0.0.1:0", options: setup.options()) {
            connection in
            _ = try await connection.readLine()
            try await connection.write("ok\n")
            try await connection.startTLS(tls)
            for try await line in connection.lines() { try await connection.write("\(line)\n") }
        }
        try bounded("start") { try server.start() }
        let address = server.boundAddresses[0]
        let client = try Client(options: setup.options())
        try client.start()
        let answer = try await patiently("the talk") {
            try await client.withConnection(to: address) { connection in
                try await connection.write("secure\n")
                _ = try await connection.readLine()
                try await connection.startTLS(trusted, name: "localhost")
                #expect(connection.tls?.isVerified == true)
                try await connection.write("sealed\n")
                return try await connection.readLine()
            }
        }
        #expect(answer == "sealed")
        await #expect(throws: NetError.self) {
            try await client.withConnection(to: address) { connection in
                try await connection.write("secure\n")
                _ = try await connection.readLine()
                try await connection.startTLS(trusted, name: "other.example")
            }
        }
        await client.stop()
        try bounded("stop") { server.stop(within: .seconds(5)) }
    }

    @Test("a connection with TLS, a pipe's and an ended one are refused", arguments: Setup.single)
    func refusals(_ setup: Setup) throws {
        let tls = try TLSTest.server()
        let texts = Shared<[String]>([])
        let handler = TestHandler(
            open: { connection in
                do {
                    if connection.tls == nil { connection.shutdownWrite() }
                    try connection.startTLS(tls)
                } catch {
                    texts.update { $0.append("\(error)") }
                }
                return .close
            })
        let options = setup.options { $0.tls = tls }
        let listen: [Address] = ["tls://127.0.0.1:0", "tcp://127.0.0.1:0"]
        try withServer(setup, handler, listen: listen, options: options) { server in
            let plain = try server.connect(1)
            _ = try plain.receiveUntilEnd()
            let sealed = try server.connect(0)
            try sealed.send("x")
            _ = try sealed.receiveUntilEnd()
        }
        #expect(texts.value.count == 2)
        #expect(texts.value.first?.contains("ended") == true)
        #expect(texts.value.last?.contains("TLS already") == true)
    }
}
