/// Tests of `.close` and `.shutdown`: both work from every callback, and bytes written with them
/// arrive.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ActionTests {
    /// A callback of a connection, and a client's action that causes it.
    enum Place: String, CaseIterable, Sendable {
        case open, traffic, writable, halfClose

        /// The number of bytes that the client receives before the last words.
        var prefix: Int { self == .writable ? 1 << 20 : 0 }

        func handler(_ body: @escaping TestHandler.OnConnection) -> TestHandler {
            var handler = TestHandler()
            switch self {
            case .open: handler.open = body
            case .traffic: handler.traffic = body
            case .halfClose: handler.halfClose = body
            case .writable:
                let size = prefix
                handler.traffic = { connection in
                    connection.discardAll()
                    // After a small piece a large one is gathered, and so exceeds the mark.
                    connection.write([1])
                    connection.write([UInt8](repeating: 1, count: size - 1))
                    return .none
                }
                handler.writable = body
            }
            return handler
        }

        func options(_ setup: Setup) -> Options {
            setup.options { options in
                options.allowHalfClosure = self == .halfClose
                options.limits.outboundHighMark = 65_536
                options.limits.outboundLowMark = 16_384
            }
        }

        func provoke(_ client: TestClient) throws {
            switch self {
            case .open: break
            case .traffic, .writable: try client.send("go")
            case .halfClose: client.shutdownWrite()
            }
        }
    }

    @Test(
        "a connection sends the bytes written in a callback that returns close, then closes",
        arguments: Setup.all, Place.allCases)
    func closeFromACallbackSendsWhatItWrote(_ setup: Setup, _ place: Place) throws {
        let handler = place.handler { connection in
            connection.write("last words")
            return .close
        }
        try withServer(setup, handler, options: place.options(setup)) { server in
            let client = try server.connect()
            try place.provoke(client)
            _ = try client.receive(exactly: place.prefix)
            #expect(try client.receiveTextUntilEnd() == ("last words", .clean))
            client.close()
            try server.waitUntilEmpty()
        }
        #expect(handler.log.reasons.count == 1)
    }

    @Test(
        "shutdown from a callback sends the bytes it wrote and stops the server",
        arguments: Setup.all, Place.allCases)
    func shutdownFromACallbackSendsWhatItWroteAndStopsTheServer(
        _ setup: Setup, _ place: Place
    ) throws {
        let handler = place.handler { connection in
            connection.write("last words")
            return .shutdown
        }
        try expectShutdown(setup, handler, place.options(setup)) { server in
            // With `.open` the first client ends the server.
            let bystander = place == .open ? nil : try server.connect()
            let client = try server.connect()
            if place != .open { try handler.log.waitFor(.open, count: 2) }
            try place.provoke(client)
            _ = try client.receive(exactly: place.prefix)
            #expect(try client.receiveTextUntilEnd() == ("last words", .clean))
            if let bystander { #expect(try bystander.receiveEnd() == .clean) }
        }
        #expect(handler.log.count(.close) == handler.log.count(.open))
    }

    @Test("shutdown returned from onClose stops the server", arguments: Setup.all)
    func shutdownFromOnCloseStopsTheServer(_ setup: Setup) throws {
        let handler = TestHandler(close: { _, _ in .shutdown })
        try expectShutdown(setup, handler, setup.options()) { server in
            try server.connect().close()
        }
    }

    @Test("shutdown returned from onTick stops the server", arguments: Setup.all)
    func shutdownFromOnTickStopsTheServer(_ setup: Setup) throws {
        let handler = TestHandler(tick: { _ in .shutdown })
        try expectShutdown(setup, handler, setup.options()) { _ in }
    }

    @Test("shutdown from onBoot stops the server", arguments: Setup.all)
    func shutdownFromOnBootStopsTheServer(_ setup: Setup) throws {
        let handler = TestHandler(boot: { _ in .shutdown })
        try expectShutdown(setup, handler, setup.options()) { _ in }
    }

    @Test(
        "shutdown from one connection closes one hundred clients with a clean end",
        arguments: Setup.all)
    func shutdownClosesAHundredClients(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            connection.discardAll() > 0 ? .shutdown : .none
        })
        try expectShutdown(setup, handler, setup.options()) { server in
            let clients = try (0..<100).map { _ in try server.connect() }
            try handler.log.waitFor(.open, count: 100)
            try clients[42].send("x")
            for client in clients { #expect(try client.receiveEnd() == .clean) }
        }
        #expect(handler.log.count(.close) == 100)
        #expect(handler.log.reasons.allSatisfy { $0 == "shutdown" })
    }

    /// Runs a server until it stops by itself, and checks the reason that it reports.
    private func expectShutdown(
        _ setup: Setup, _ handler: TestHandler, _ options: Options,
        _ body: (TestServer) throws -> Void
    ) throws {
        let server = try Server(handler, listen: anyPort, options: options)
        try bounded("Server.start") { try server.start() }
        let running = Worker { try server.run().name }
        do {
            try body(TestServer(server: server))
        } catch {
            server.requestStop()
            throw error
        }
        #expect(try running.join("Server.run") == "shutdownAction")
        #expect(server.connectionCount == 0)
        handler.log.checkLives()
    }
}
