/// Tests of cancelled tasks: they return at once, and each call has either its whole effect or
/// none.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct CancellationTests {
    /// Blocks the connection's loop until the gate opens.
    private static func hold(_ handle: ConnectionHandle) throws -> Gate {
        let gate = Gate()
        handle.execute { _ in gate.wait() }
        try eventually("the loop is held") { gate.isReached }
        return gate
    }

    /// Returns "cancelled" if the task was cancelled; waits a bounded time.
    private static func fate<Value: Sendable>(
        _ what: String, _ task: Task<Value, any Error>
    ) async throws -> String {
        try await patiently(what) {
            do {
                _ = try await task.value
                return "done"
            } catch is CancellationError {
                return "cancelled"
            } catch {
                return "\(error)"
            }
        }
    }

    @Test(
        "a cancelled send to a peer that does not read ends, and its bytes still arrive",
        arguments: Setup.all)
    func aSendToWhoDoesNotReadIsGivenUpAndStillArrives(_ setup: Setup) async throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = HandleTests.sharing(handles, traffic: TestHandler.ignore)
        let (pattern, count) = (Pattern(stream: 9), 32 << 20)
        try await withAsyncServer(setup, handler) { server in
            let client = try server.connect(receiveBuffer: 4096)
            try handler.log.waitFor(.open)
            let handle = handles.value[0]
            let task = Task { try await handle.send(pattern.bytes(count)) }
            try await patiently("the loop has it") {
                while try await handle.run({ $0.outboundBuffered }) == 0 {
                    try await Task.sleep(for: .milliseconds(1))
                }
            }
            task.cancel()
            #expect(try await Self.fate("send", task) == "cancelled")
            #expect(try await patiently("run") { try await handle.run { $0.isOpen } })
            handle.write("behind it")
            let reader = Worker {
                try client.receive(pattern, exactly: count)
                return try client.receiveText(exactly: 9)
            }
            #expect(try reader.join("all bytes", within: patience * 2) == "behind it")
        }
    }

    @Test("a send cancelled before its loop handles it is never written", arguments: Setup.all)
    func aSendThatItsLoopHasNotComeToIsWithdrawn(_ setup: Setup) async throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = HandleTests.sharing(handles, traffic: TestHandler.ignore)
        try await withAsyncServer(setup, handler) { server in
            let client = try server.connect()
            try handler.log.waitFor(.open)
            let handle = handles.value[0]
            let gate = try Self.hold(handle)
            defer { gate.open() }
            let begun = Shared(0)
            let tasks = (0..<20).map { number in
                Task {
                    begun.update { $0 += 1 }
                    try await handle.send(Array("withdrawn \(number)".utf8))
                }
            }
            try await patiently("each task has begun") {
                while begun.value < 20 { try await Task.sleep(for: .milliseconds(1)) }
            }
            pause(.milliseconds(50))
            for task in tasks { task.cancel() }
            for task in tasks { #expect(try await Self.fate("send", task) == "cancelled") }
            gate.open()
            handle.write("after")
            handle.close()
            let (text, end) = try client.receiveTextUntilEnd()
            #expect(text == "after" && end == .clean)
        }
    }

    /// Some are cancelled before their turn, some during it, some after it.
    @Test(
        "each of many sends, some of them cancelled, arrives whole or not at all",
        arguments: Setup.all)
    func eachOfManySendsArrivesWholeOrNotAtAll(_ setup: Setup) async throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = HandleTests.sharing(handles, traffic: TestHandler.ignore)
        let (size, count) = (65_536, 60)
        try await withAsyncServer(setup, handler) { server in
            let client = try server.connect(receiveBuffer: 4096)
            try handler.log.waitFor(.open)
            let handle = handles.value[0]
            let tasks = (0..<count).map { number in
                Task { try await handle.send([UInt8](repeating: UInt8(number), count: size)) }
            }
            for number in stride(from: 0, to: count, by: 2) {
                pause(.microseconds(200))
                tasks[number].cancel()
            }
            let reader = Worker { try client.receiveUntilEnd() }
            for number in 0..<count {
                let fate = try await Self.fate("send", tasks[number])
                #expect(fate == "done" || (number % 2 == 0 && fate == "cancelled"), "\(fate)")
            }
            handle.close()
            let (bytes, end) = try reader.join("all bytes")
            #expect(end == .clean && bytes.count % size == 0)
            var seen: Set<UInt8> = []
            for start in stride(from: 0, to: bytes.count - size + 1, by: size) {
                let piece = bytes[start..<start + size]
                #expect(piece.allSatisfy { $0 == bytes[start] }, "cut at \(start)")
                let isNew = seen.insert(bytes[start]).inserted
                #expect(isNew, "\(bytes[start]) came twice")
            }
            let uncancelled = (0..<count).filter { $0 % 2 == 1 }
            #expect(uncancelled.allSatisfy { seen.contains(UInt8($0)) })
        }
    }

    @Test(
        "a cancelled connect to a full backlog ends and closes its socket",
        arguments: Setup.all, FullBacklog.Kind.allCases)
    func aConnectThatIsNeverAnsweredIsGivenUp(
        _ setup: Setup, _ kind: FullBacklog.Kind
    ) async throws {
        let nobody = try FullBacklog(kind)
        let handler = TestHandler()
        let client = try Client(handler, options: setup.options())
        try bounded("Client.start") { try client.start() }
        let before = Probe.descriptors
        let tasks = (0..<5).map { _ in
            Task { try await client.connect(to: nobody.address, timeout: .seconds(600)) }
        }
        try eventually("all are on their way") { client.connectionCount == tasks.count }
        for task in tasks { task.cancel() }
        for task in tasks { #expect(try await Self.fate("connect", task) == "cancelled") }
        try eventually("none is left") { client.connectionCount == 0 }
        try eventually("every descriptor closed") { Probe.descriptors <= before }
        let never = Task {
            while !Task.isCancelled { await Task.yield() }
            return try await client.connect(to: nobody.address, timeout: .seconds(600))
        }
        never.cancel()
        #expect(try await Self.fate("connect", never) == "cancelled")
        #expect(client.connectionCount == 0)
        try await patiently("await Client.stop") { await client.stop() }
        #expect(handler.log.count(.open) == 0 && handler.log.count(.close) == 0)
    }

    @Test(
        "a run cancelled before its loop handles it never executes its body",
        arguments: Setup.all)
    func aRunThatItsLoopHasNotComeToNeverRuns(_ setup: Setup) async throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = HandleTests.sharing(handles, traffic: TestHandler.ignore)
        let ran = Shared(0)
        try await withAsyncServer(setup, handler) { server in
            let client = try server.connect()
            try handler.log.waitFor(.open)
            let handle = handles.value[0]
            let gate = try Self.hold(handle)
            defer { gate.open() }
            let begun = Shared(0)
            let tasks = (0..<20).map { _ in
                Task {
                    begun.update { $0 += 1 }
                    try await handle.run { _ in ran.update { $0 += 1 } }
                }
            }
            try await patiently("each task has begun") {
                while begun.value < 20 { try await Task.sleep(for: .milliseconds(1)) }
            }
            pause(.milliseconds(50))
            for task in tasks { task.cancel() }
            for task in tasks { #expect(try await Self.fate("run", task) == "cancelled") }
            gate.open()
            #expect(try await patiently("run") { try await handle.run { $0.isOpen } })
            client.close()
        }
        #expect(ran.value == 0)
    }

    @Test("a cancelled run whose body has started still returns its value", arguments: Setup.all)
    func aRunThatHasBegunIsFinished(_ setup: Setup) async throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = HandleTests.sharing(handles, traffic: TestHandler.ignore)
        let returned = Shared(false)
        try await withAsyncServer(setup, handler) { server in
            let client = try server.connect()
            try handler.log.waitFor(.open)
            let handle = handles.value[0]
            let gate = Gate()
            defer { gate.open() }
            let task = Task {
                defer { returned.value = true }
                return try await handle.run { _ in
                    gate.wait()
                    return 42
                }
            }
            try eventually("the body runs") { gate.isReached }
            task.cancel()
            pause(.milliseconds(50))
            #expect(!returned.value)
            gate.open()
            #expect(try await patiently("run") { try await task.value } == 42)
            client.close()
        }
    }

    /// Before, during and after the connect.
    @Test("connects cancelled at any moment leak no connection or descriptor", arguments: Setup.all)
    func connectsCancelledAtAnyMomentLeaveNothing(_ setup: Setup) async throws {
        try await withAsyncServer(setup, TestHandler()) { server in
            let handler = TestHandler()
            let client = try Client(handler, options: setup.options())
            try bounded("Client.start") { try client.start() }
            let address = server.addresses[0]
            let before = Probe.descriptors
            var random = SplitMix64(seed: 200)
            for _ in 0..<200 {
                let task = Task {
                    let handle = try await client.connect(to: address)
                    handle.close()
                }
                let delay = Int.random(in: 0...500, using: &random)
                if delay > 100 { pause(.microseconds(delay - 100)) }
                task.cancel()
                let fate = try await Self.fate("connect", task)
                #expect(fate == "done" || fate == "cancelled", "\(fate)")
            }
            try eventually("the client has none left") { client.connectionCount == 0 }
            try eventually("the server has none left") { server.server.connectionCount == 0 }
            try eventually("every descriptor closed") { Probe.descriptors <= before }
            try await patiently("await Client.stop") { await client.stop() }
            handler.log.checkLives()
            #expect(handler.log.count(.open) == handler.log.count(.close))
        }
    }
}
