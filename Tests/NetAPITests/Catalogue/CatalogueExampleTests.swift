/// Tests that handlers in the pages of the catalogue do what the pages say.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct CatalogueExampleTests {
    private func answer(
        _ setup: Setup, _ handler: some EventHandler & Sendable, to request: [UInt8], count: Int
    ) throws -> [UInt8] {
        try serve(try Server(handler, listen: anyPort, options: setup.options())) { server in
            let client = try server.connect()
            try client.send(request)
            return try client.receive(exactly: count)
        }
    }

    private func expect(
        _ setup: Setup, _ handler: some EventHandler & Sendable, _ request: String,
        gets expected: String, location: SourceLocation = #_sourceLocation
    ) throws {
        let bytes = try answer(
            setup, handler, to: Array(request.utf8), count: expected.utf8.count)
        #expect(String(decoding: bytes, as: UTF8.self) == expected, sourceLocation: location)
    }

    @Test("the handlers of the pages answer lines as the pages say", arguments: Setup.all)
    func lines(_ setup: Setup) throws {
        try expect(setup, Shouter(), "hello\nworld\n", gets: "HELLO\nWORLD\n")
        try expect(
            setup, FirstState.Counter(), "a\nbc\n",
            gets: "line 1 has 1 bytes\nline 2 has 2 bytes\n")
        try expect(setup, NIOPage.Upper(), "hello\n", gets: "HELLO\n")
        try expect(setup, GnetPage.EchoServer(), "hello", gets: "hello")
        try expect(setup, BlockingPage.Offloading(), "a\nb\n", gets: "a\nb\n")
        try expect(setup, BlockingPage.Awaiting(), "a\nb\nc\n", gets: "a\nb\nc\n")
        try expect(setup, ThreadsPage.Greeter(), "", gets: "hello\n")
    }

    @Test("the frames of the page lose their first byte", arguments: Setup.all)
    func frames(_ setup: Setup) throws {
        let request: [UInt8] = [0, 3, 1, 0x41, 0x42]
        let expected: [UInt8] = [0, 2, 0x41, 0x42]
        #expect(try answer(setup, LentPage.Frames(), to: request, count: 4) == expected)
    }

    @Test("the producer of the page sends every number to a slow reader", arguments: Setup.all)
    func producer(_ setup: Setup) throws {
        let options = setup.options()
        try serve(try Server(PressurePage.Numbers(), listen: anyPort, options: options)) { server in
            let client = try server.connect(receiveBuffer: 4096)
            let (text, end) = try client.receiveTextUntilEnd()
            let expected = (0..<100_000).map { "\($0)\n" }.joined()
            #expect(text == expected && end == .clean)
        }
    }

    @Test("a request of the page that began before a stop is answered", arguments: Setup.all)
    func stop(_ setup: Setup) throws {
        let options = setup.options()
        try serve(try Server(StopPage.Busy(), listen: anyPort, options: options)) { server in
            let client = try server.connect()
            try client.send("first\nsec")
            #expect(try client.receiveText(exactly: 6) == "first\n")
            try waitUntil(server.server) { $0.isBusy }
            server.server.requestStop()
            try waitUntil(server.server) { $0.loop.isStopping }
            try client.send("ond\n")
            let (text, end) = try client.receiveTextUntilEnd()
            #expect(text == "second\nbye\n" && end == .clean)
        }
    }

    @Test("a peer that ends in the middle of a request is closed", arguments: Setup.all)
    func half(_ setup: Setup) throws {
        let options = setup.options()
        try serve(try Server(StopPage.Busy(), listen: anyPort, options: options)) { server in
            let client = try server.connect()
            try client.send("first\nsec")
            try waitUntil(server.server) { $0.isBusy }
            client.shutdownWrite()
            #expect(try client.receiveTextUntilEnd() == ("first\n", .clean))
        }
    }

    /// Waits until the only connection has a property.
    private func waitUntil(
        _ server: Server, _ property: @escaping @Sendable (Connection) -> Bool
    ) throws {
        let isTrue = Shared(false)
        try eventually("the connection has it") {
            server.forEachConnection { if property($0) { isTrue.value = true } }
            return isTrue.value
        }
    }
}
