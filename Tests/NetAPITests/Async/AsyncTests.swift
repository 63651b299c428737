/// Tests of the async methods: they suspend instead of blocking, and report the same results.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct AsyncTests {
    @Test("run returns the value of its body", arguments: Setup.all)
    func runReturnsTheValueOfItsBody(_ setup: Setup) async throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = HandleTests.sharing(handles, traffic: TestHandler.ignore)
        try await withAsyncServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("12345")
            try handler.log.waitFor(.traffic)
            let handle = handles.value[0]
            let found = try await patiently("run") { try await handle.run { $0.buffered } }
            #expect(found == 5)
            let address = try await patiently("run") {
                try await handle.run { "\($0.remoteAddress)" }
            }
            #expect(try address == client.localText)
        }
    }

    @Test("run throws the error that its body throws", arguments: Setup.all)
    func runThrowsWhatItsBodyThrows(_ setup: Setup) async throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = HandleTests.sharing(handles, traffic: TestHandler.ignore)
        try await withAsyncServer(setup, handler) { server in
            let client = try server.connect()
            try handler.log.waitFor(.open)
            let handle = handles.value[0]
            await #expect(throws: Mishap(text: "mine")) {
                try await patiently("run") {
                    try await handle.run { _ in throw Mishap(text: "mine") }
                }
            }
            client.close()
        }
    }

    @Test("run and send throw closed on a closed connection", arguments: Setup.all)
    func runAndSendThrowClosedAfterTheClose(_ setup: Setup) async throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = HandleTests.sharing(handles, traffic: TestHandler.ignore)
        let codes: @Sendable () async throws -> [NetError.Code?] = {
            let handle = handles.value[0]
            let ran = await #expect(throws: NetError.self) {
                try await patiently("run") { try await handle.run { $0.buffered } }
            }
            let sent = await #expect(throws: NetError.self) {
                try await patiently("send") { try await handle.send([1, 2, 3]) }
            }
            return [ran?.code, sent?.code]
        }
        try await withAsyncServer(setup, handler) { server in
            let client = try server.connect()
            try handler.log.waitFor(.open)
            client.close()
            try handler.log.waitFor(.close)
            #expect(try await codes() == [.closed, .closed])
        }
        #expect(try await codes() == [.closed, .closed])
    }

    /// Waits until `count` is above zero and no longer grows, without blocking the thread that the
    /// senders may need.
    private static func settled(_ count: @escaping @Sendable () -> Int) async throws -> Int {
        try await patiently("a count that no longer grows") {
            var (last, looks) = (0, 0)
            while looks < 25 {
                try await Task.sleep(for: .milliseconds(2))
                let now = count()
                looks = now > 0 && now == last ? looks + 1 : 0
                last = now
            }
            return last
        }
    }

    @Test("send suspends for a slow reader and loses no bytes", arguments: Setup.all)
    func sendSuspendsForASlowReaderAndNothingIsLost(_ setup: Setup) async throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = HandleTests.sharing(handles, traffic: TestHandler.ignore)
        let (piece, count) = (65_536, 512)
        let pattern = Pattern(stream: 6)
        let done = Shared(0)
        try await withAsyncServer(setup, handler) { server in
            let client = try server.connect(receiveBuffer: 4096)
            try handler.log.waitFor(.open)
            let handle = handles.value[0]
            let task = Task {
                for number in 0..<count {
                    try await handle.send(pattern.bytes(piece, from: number * piece))
                    done.value = number + 1
                }
            }
            let sent = try await Self.settled { done.value }
            #expect(sent < count, "32 MiB went into a reader that does not read")
            let waiting = try await patiently("run") {
                try await handle.run { $0.outboundBuffered }
            }
            #expect(waiting < 1 << 20)
            let reader = Worker { try client.receive(pattern, exactly: piece * count) }
            try await patiently("all sends") { try await task.value }
            try reader.join("all bytes")
        }
        #expect(done.value == count)
    }

    @Test(
        "a suspended send throws closed when the peer resets the connection",
        arguments: Setup.all)
    func aSuspendedSendEndsWhenTheConnectionDoes(_ setup: Setup) async throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = HandleTests.sharing(handles, traffic: TestHandler.ignore)
        try await withAsyncServer(setup, handler) { server in
            let client = try server.connect(receiveBuffer: 4096)
            try handler.log.waitFor(.open)
            let handle = handles.value[0]
            let task = Task { () -> NetError.Code? in
                do {
                    while true { try await handle.send([UInt8](repeating: 1, count: 1 << 20)) }
                } catch {
                    return (error as? NetError)?.code
                }
            }
            _ = try await Self.settled { server.server.statistics.bytesOut }
            client.reset()
            #expect(try await patiently("send") { await task.value } == .closed)
        }
    }

    @Test("sends of one hundred tasks on one connection all arrive whole", arguments: Setup.all)
    func manyTasksMayUseOneConnection(_ setup: Setup) async throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = HandleTests.sharing(handles, traffic: TestHandler.ignore)
        try await withAsyncServer(setup, handler) { server in
            let client = try server.connect()
            try handler.log.waitFor(.open)
            let handle = handles.value[0]
            try await patiently("100 tasks") {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<100 {
                        group.addTask {
                            try await handle.send([UInt8](repeating: UInt8(number), count: 100))
                        }
                    }
                    try await group.waitForAll()
                }
            }
            let bytes = try client.receive(exactly: 10_000)
            var seen: Set<UInt8> = []
            for start in stride(from: 0, to: bytes.count, by: 100) {
                #expect(bytes[start..<start + 100].allSatisfy { $0 == bytes[start] })
                seen.insert(bytes[start])
            }
            #expect(seen.count == 100)
        }
    }

    @Test(
        "cancelling the task of run drains the connections and stops the server",
        arguments: Setup.all)
    func cancellingTheTaskOfRunDrainsAndStops(_ setup: Setup) async throws {
        let handler = TestHandler()
        let server = try Server(handler, listen: anyPort, options: setup.options())
        try bounded("Server.start") { try server.start() }
        let task = Task { try await server.run().name }
        let client = try TestClient(to: server.boundAddresses[0])
        #expect(try client.roundTrip("x"))
        task.cancel()
        #expect(try client.receiveEnd() == .clean)
        client.close()
        #expect(try await patiently("await run") { try await task.value } == "stopped")
        handler.log.checkLives()
        #expect(handler.log.count(.close) == 1)
    }

    @Test("run returns when another task stops the server", arguments: Setup.all)
    func runReturnsWhenAnotherTaskStopsTheServer(_ setup: Setup) async throws {
        let server = try Server(TestHandler(), listen: anyPort, options: setup.options())
        let task = Task { try await server.run().name }
        try await patiently("the server is bound") {
            while server.boundAddresses.isEmpty { try await Task.sleep(for: .milliseconds(1)) }
        }
        try await patiently("await stop") { await server.stop() }
        #expect(try await patiently("await run") { try await task.value } == "stopped")
    }
}
