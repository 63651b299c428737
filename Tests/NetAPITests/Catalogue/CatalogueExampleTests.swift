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

    /// Runs `body` while the answer to the connection's first request waits at the gate.
    private func waiting(
        _ setup: Setup, _ handler: some EventHandler & Sendable,
        _ body: (TestServer, TestClient, AsyncGate) throws -> Void
    ) throws {
        let (gate, request) = (AsyncGate(), "wait \(UInt64.random(in: 0 ... .max))")
        AsyncGate.ofRequests.update { $0[request] = gate }
        defer { AsyncGate.ofRequests.update { $0[request] = nil } }
        try serve(try Server(handler, listen: anyPort, options: setup.options())) { server in
            let client = try server.connect()
            try client.send(request + "\n")
            try eventually("the answer waits") { gate.guests == 1 }
            try body(server, client, gate)
        }
    }

    /// Sends more than `Options.Limits.inboundBytes` while a task makes an answer.
    private func pipeline(
        _ setup: Setup, _ handler: some EventHandler & Sendable, lineEnd: String
    ) throws {
        try waiting(setup, handler) { _, client, gate in
            let line = String(repeating: "x", count: 10_000)
            let sender = Worker { try client.send(String(repeating: line + "\n", count: 200)) }
            #expect(try client.staysSilent(for: .milliseconds(200)))
            gate.open()
            let first = try client.receive(exactly: 1)
            while try client.receive(exactly: 1) != [0x0A] {}
            let answers = String(repeating: line + lineEnd, count: 200)
            #expect(try client.receiveText(exactly: answers.utf8.count) == answers)
            #expect(first == Array("w".utf8))
            try sender.join("sending 2 MB")
        }
    }

    @Test("the tasks of the pages answer a long pipeline in order", arguments: Setup.all)
    func pipelines(_ setup: Setup) throws {
        try pipeline(setup, BlockingPage.Awaiting(), lineEnd: "\n")
        try pipeline(setup, ReadmeTasks(), lineEnd: "\r\n")
    }

    @Test("a connection whose task finds the mailbox full is closed", arguments: Setup.all)
    func fullMailbox(_ setup: Setup) throws {
        try waiting(setup, BlockingPage.Awaiting()) { server, client, gate in
            let handles = Shared<[ConnectionHandle]>([])
            server.server.forEachConnection { connection in
                handles.update { [handle = connection.handle] in $0.append(handle) }
            }
            try eventually("the connection is found") { handles.value.count == 1 }
            let blocker = Gate()
            handles.value[0].execute { _ in blocker.wait() }
            try eventually("the loop waits") { blocker.isReached }
            while handles.value[0].wake() {}
            let refused = server.server.statistics.refusedPosts
            gate.open()
            try eventually("the task is refused") {
                server.server.statistics.refusedPosts > refused
            }
            blocker.open()
            #expect(try client.receiveTextUntilEnd() == ("", .clean))
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
