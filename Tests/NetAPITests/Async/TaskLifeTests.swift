/// Tests of the lives of tasks with connections: stops, cancellation, clients, actors.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct TaskLifeTests {
    @Test(
        "a stop lets a task that works on a request finish, and ends idle ones",
        arguments: Setup.all)
    func stop(_ setup: Setup) throws {
        let gate = AsyncGate()
        let server = try Server(listen: anyPort, options: setup.options()) { connection in
            for try await line in connection.lines() {
                if line == "slow" { await gate.wait() }
                try await connection.write("\(line)\n")
            }
        }
        try bounded("start") { try server.start() }
        let address = server.boundAddresses[0]
        let (idle, busy) = (try TestClient(to: address), try TestClient(to: address))
        #expect(try idle.roundTrip("ping\n"))
        try busy.send("slow\n")
        try eventually("the request is being answered") { gate.guests == 1 }
        let stopping = Worker { server.stop(within: .seconds(20)) }
        #expect(try idle.receiveEnd() == .clean)
        gate.open()
        #expect(try busy.receiveTextUntilEnd().text == "slow\n")
        try stopping.join("the stop")
    }

    @Test(
        "a task that outlives its server goes on, and its connection is closed",
        arguments: Setup.all)
    func outliving(_ setup: Setup) throws {
        let gate = AsyncGate()
        let result = Shared("")
        let server = try Server(listen: anyPort, options: setup.options()) { connection in
            _ = try await connection.read()
            await gate.wait()
            do {
                _ = try await connection.read()
            } catch let error as NetError {
                result.value += "\(error.code), "
            }
            do {
                try await connection.withTimeout(.seconds(1)) { try await connection.write("late") }
            } catch let error as NetError {
                result.value += "\(error.code), \(connection.isOpen), \(connection.localAddress)"
            }
        }
        try bounded("start") { try server.start() }
        let client = try TestClient(to: server.boundAddresses[0])
        try client.send("x")
        try eventually("the task waits elsewhere") { gate.guests == 1 }
        try bounded("stop") { server.stop(within: .milliseconds(50)) }
        _ = try client.receiveUntilEnd()
        gate.open()
        try eventually("the task has gone on") { result.value.hasSuffix("unknown") }
        #expect(result.value == "closed, closed, false, unknown")
    }

    @Test("a client's task connects, talks and closes", arguments: Setup.all)
    func client(_ setup: Setup) async throws {
        try await withAsyncServer(setup, TestHandler()) { server in
            let client = try Client(options: setup.options())
            try client.start()
            let address = server.addresses[0]
            let answers = try await patiently("talks") {
                try await withThrowingTaskGroup(of: String.self) { group in
                    for number in 0..<50 {
                        group.addTask {
                            try await client.withConnection(to: address) { connection in
                                try await connection.write("hello \(number)\n")
                                return try await connection.readLine() ?? "nothing"
                            }
                        }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
            }
            #expect(Set(answers) == Set((0..<50).map { "hello \($0)" }))
            try server.waitUntilEmpty()
            await client.stop()
            await #expect(throws: NetError.self) {
                try await client.withConnection(to: address) { _ in }
            }
        }
    }

    @Test(
        "cancelling a client's task ends its waits and resets its connection", arguments: Setup.all)
    func cancellation(_ setup: Setup) async throws {
        var handler = TestHandler()
        handler.traffic = TestHandler.ignore
        let isOver = Shared(false)
        try await withAsyncServer(setup, handler) { [handler] server in
            let client = try Client(options: setup.options())
            try client.start()
            let address = server.addresses[0]
            let task = Task {
                try await client.withConnection(to: address) { connection in
                    defer { isOver.value = true }
                    try await connection.write("x")
                    while try await connection.read() != nil {}
                }
            }
            try handler.log.waitFor(.traffic)
            task.cancel()
            let outcome = await task.result
            #expect(throws: CancellationError.self) { try outcome.get() }
            #expect(isOver.value)
            try handler.log.waitFor(.close)
            await client.stop()
        }
    }

    @Test("a server that answers and closes at once is read to its end", arguments: Setup.all)
    func endAtOnce(_ setup: Setup) async throws {
        let handler = TestHandler(open: { connection in
            connection.write("busy, come back")
            return .close
        })
        try await withAsyncServer(setup, handler) { server in
            let client = try Client(options: setup.options())
            try client.start()
            let address = server.addresses[0]
            for _ in 0..<20 {
                let text = try await patiently("the answer") {
                    try await client.withConnection(to: address) { connection in
                        var text = ""
                        for try await bytes in connection.chunks {
                            text += String(decoding: bytes, as: UTF8.self)
                        }
                        return text
                    }
                }
                #expect(text == "busy, come back")
            }
            await client.stop()
        }
    }

    @Test("a client with a handler has no tasks for its connections")
    func otherClient() async throws {
        let client = try Client(TestHandler())
        await #expect(throws: NetError.self) {
            try await client.withConnection(to: "tcp://127.0.0.1:9") { _ in }
        }
    }

    /// Lives on a loop's thread.
    private actor Tally {
        private let executor: any TaskExecutor & SerialExecutor
        nonisolated var unownedExecutor: UnownedSerialExecutor {
            executor.asUnownedSerialExecutor()
        }
        private var count = 0

        init(on loop: LoopHandle) { executor = loop.executor }

        func add() -> (count: Int, thread: pthread_t) {
            count += 1
            return (count, pthread_self())
        }
    }

    @Test(
        "an actor lives on a loop: its tasks call it on their own thread", arguments: Setup.single)
    func actor(_ setup: Setup) throws {
        let tally = Shared<Tally?>(nil)
        try TaskTests.with(setup) { connection in
            let mine = tally.update { tally in
                tally = tally ?? Tally(on: connection.loop)
                return tally!
            }
            for try await line in connection.lines() {
                let (count, thread) = await mine.add()
                #expect(thread == pthread_self())
                try await connection.write("\(line.count + count)\n")
            }
        } _: { server in
            let clients = try (0..<4).map { _ in try server.connect() }
            for (number, client) in clients.enumerated() {
                try client.send("\n")
                #expect(try client.receiveText(exactly: 2) == "\(number + 1)\n")
            }
            for client in clients { client.close() }
        }
    }

    @Test("a task that never waits leaves other connections their turn", arguments: Setup.single)
    func neverWaits(_ setup: Setup) throws {
        let isEnough = Shared(false)
        try TaskTests.with(setup) { connection in
            for try await line in connection.lines() {
                if line == "spin" { while !isEnough.value { await Task.yield() } }
                try await connection.write("\(line)\n")
            }
        } _: { server in
            let (spinning, other) = (try server.connect(), try server.connect())
            try spinning.send("spin\n")
            for _ in 0..<20 { #expect(try other.roundTrip("ping\n")) }
            isEnough.value = true
            #expect(try spinning.receiveText(exactly: 5) == "spin\n")
            spinning.close()
            other.close()
        }
    }

    @Test(
        "an error of the task is the reason of the close; written bytes are sent",
        arguments: Setup.all)
    func failure(_ setup: Setup) throws {
        try TaskTests.with(setup) { connection in
            try await connection.write("so far")
            throw Mishap()
        } _: { server in
            let client = try server.connect()
            if TestTLS.isOn { try client.send("x") }
            #expect(try client.receiveTextUntilEnd().text == "so far")
        }
    }
}
