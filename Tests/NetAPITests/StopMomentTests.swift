/// Tests of stops at unusual moments: before the start, during it, from any callback. The server
/// always ends, and the caller gets the result.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct StopMomentTests {
    /// Code of the program that runs on a loop's thread.
    enum Place: String, CaseIterable, Sendable {
        case factory, boot, tick, timer, open, traffic

        var needsClient: Bool { self == .open || self == .traffic }

        func handler(_ call: @escaping @Sendable (Server) -> Void) -> TestHandler {
            var handler = TestHandler()
            switch self {
            case .factory: break
            case .boot:
                handler.boot = { loop in
                    call(loop.server)
                    return .none
                }
            case .tick:
                handler.tick = { loop in
                    call(loop.server)
                    return .never
                }
            case .timer:
                handler.boot = { loop in
                    loop.schedule(after: .zero) { call(loop.server) }
                    return .none
                }
            case .open:
                handler.open = { connection in
                    call(connection.server)
                    return .none
                }
            case .traffic:
                handler.traffic = { connection in
                    connection.discardAll()
                    call(connection.server)
                    return .none
                }
            }
            return handler
        }
    }

    @Test(
        "stop and run return when called on a loop, and the server stops",
        arguments: Setup.all, Place.allCases)
    func stopAndRunOnALoopReturnAndTheServerEnds(_ setup: Setup, _ place: Place) throws {
        let said = Shared<Set<String>>([])
        let call: @Sendable (Server) -> Void = { server in
            let code = word { try server.run().name }
            said.update { _ = $0.insert(code) }
            server.stop()
        }
        let box = Shared<Server?>(nil)
        defer { box.value = nil }
        let handler = place.handler(call)
        let server = try Server(listen: anyPort, options: setup.options()) { () -> TestHandler in
            if place == .factory, let server = box.value { call(server) }
            return handler
        }
        box.value = server
        try server.startUnlessStopped()
        if place.needsClient {
            let client = try TestClient(to: server.boundAddresses[0])
            try client.send("x")
            _ = try client.receiveUntilEnd()
        }
        #expect(try bounded("Server.run") { try server.run().name } == "stopped")
        #expect(said.value == ["unsupported"])
        #expect(server.connectionCount == 0)
        handler.log.checkLives()
    }

    /// Cancelled before `run` is called, or at any moment during it.
    @Test("a run whose task is cancelled at any moment returns stopped", arguments: Setup.all)
    func aRunWhoseTaskIsCancelledSaysThatItStopped(_ setup: Setup) async throws {
        for round in 0..<100 {
            let server = try Server(TestHandler(), listen: anyPort, options: setup.options())
            let task = Task {
                while round == 0 && !Task.isCancelled { await Task.yield() }
                return try await server.run().name
            }
            if round > 1 { pause(.microseconds(round * 30)) }
            task.cancel()
            #expect(try await patiently("await run") { try await task.value } == "stopped")
            #expect(server.connectionCount == 0)
        }
    }

    /// Binding a hundred sockets takes time.
    @Test(
        "a cancelled run with a hundred listeners returns stopped and closes every listener",
        arguments: Setup.all)
    func soDoesOneWithAHundredListeners(_ setup: Setup) async throws {
        let list = [Address](repeating: anyPort, count: 100)
        let before = Probe.descriptors
        for round in 0..<20 {
            let server = try Server(TestHandler(), listen: list, options: setup.options())
            let task = Task { try await server.run().name }
            pause(.microseconds(round * 200))
            task.cancel()
            #expect(try await patiently("await run") { try await task.value } == "stopped")
        }
        try eventually("every listener closed") { Probe.descriptors <= before + 5 }
    }

    @Test("a stop requested at any moment of the start stops the server", arguments: Setup.all)
    func aStopAtAnyMomentOfTheStartIsRemembered(_ setup: Setup) throws {
        var random = SplitMix64(seed: 50)
        for round in 0..<50 {
            let handler = TestHandler()
            let server = try Server(handler, listen: anyPort, options: setup.options())
            let delay = Int.random(in: 0...3000, using: &random)
            let stopper = Worker {
                if round > 0 { pause(.microseconds(delay)) }
                server.requestStop()
            }
            try server.startUnlessStopped()
            try stopper.join("requestStop")
            #expect(try bounded("Server.run") { try server.run().name } == "stopped")
            #expect(server.connectionCount == 0)
            let counts = (handler.log.count(.boot), handler.log.count(.shutdown))
            #expect(counts.0 == counts.1, "after \(delay) us: \(counts)")
        }
    }

    /// Both stops wait for the start's result.
    @Test(
        "stop and run wait for a start in progress and return when it fails",
        arguments: Setup.all)
    func stopsBesideAStartThatFailsReturn(_ setup: Setup) async throws {
        let gate = Gate()
        defer { gate.open() }
        let handler = TestHandler(boot: { _ in
            gate.wait()
            throw Mishap()
        })
        let server = try Server(handler, listen: anyPort, options: setup.options())
        let starting = Worker { word { try Self.start(server) } }
        try eventually("onBoot runs") { gate.isReached }
        let stopping = Worker { server.stop() }
        let awaiting = Task { await server.stop() }
        let running = Worker { word { try server.run().name } }
        let runningTask = Task { await asyncWord { try await server.run().name } }
        pause(.milliseconds(50))
        #expect(!stopping.isDone && !running.isDone)
        gate.open()
        #expect(try starting.join("Server.start") == "system")
        try stopping.join("Server.stop")
        try await patiently("await Server.stop") { await awaiting.value }
        #expect(try running.join("Server.run") == "unsupported")
        let said = try await patiently("await Server.run") { await runningTask.value }
        #expect(said == "unsupported")
        try bounded("another stop") { server.stop() }
    }

    private static func start(_ server: Server) throws -> String {
        try server.start()
        return "returned"
    }

    @Test(
        "two threads that start one server both find it serving, and it boots once",
        arguments: Setup.all)
    func twoThreadsThatStartItBothFindItServing(_ setup: Setup) throws {
        for _ in 0..<20 {
            let handler = TestHandler()
            let server = try Server(handler, listen: anyPort, options: setup.options())
            let threads = (0..<2).map { _ in
                Worker {
                    try server.start()
                    return try TestClient(to: server.boundAddresses[0]).roundTrip("x")
                }
            }
            for thread in threads { #expect(try thread.join("Server.start")) }
            try bounded("Server.stop") { server.stop() }
            #expect(handler.log.count(.boot) == 1)
        }
    }

    @Test(
        "a second start waits for the first and succeeds or fails with it",
        arguments: Setup.all, [false, true])
    func aSecondStartWaitsForTheFirstAndSharesItsFate(_ setup: Setup, _ fails: Bool) throws {
        let gate = Gate()
        defer { gate.open() }
        let handler = TestHandler(boot: { _ in
            gate.wait()
            if fails { throw Mishap() }
            return .none
        })
        let server = try Server(handler, listen: anyPort, options: setup.options())
        let first = Worker { word { try Self.start(server) } }
        try eventually("onBoot runs") { gate.isReached }
        let second = Worker { word { try Self.start(server) } }
        pause(.milliseconds(50))
        #expect(!second.isDone)
        gate.open()
        #expect(try first.join("Server.start") == (fails ? "system" : "returned"))
        #expect(try second.join("Server.start") == (fails ? "unsupported" : "returned"))
        if !fails {
            let client = try TestClient(to: server.boundAddresses[0])
            #expect(try client.roundTrip("x"))
            client.close()
        }
        try bounded("Server.stop") { server.stop() }
        handler.log.checkLives()
    }

    private static func runInATask(_ setup: Setup) async throws {
        let server = try Server(TestHandler(), listen: anyPort, options: setup.options())
        let task = Task { try await server.run(stoppingOn: .hangup).name }
        try await patiently("the server is bound") {
            while server.boundAddresses.isEmpty { try await Task.sleep(for: .milliseconds(1)) }
        }
        let client = try TestClient(to: server.boundAddresses[0])
        #expect(try client.roundTrip("x"))
        client.close()
        server.requestStop()
        #expect(try await patiently("await run") { try await task.value } == "stopped")
    }

    /// The pool that tasks run on may grow a little; twenty threads would be the server's.
    @Test("repeated runs in tasks leave no thread and no descriptor")
    func runsInTasksLeaveNoThreadAndNoDescriptor() async {
        await #expect(processExitsWith: .success) {
            for setup in Setup.all {
                for _ in 0..<3 { try await StopMomentTests.runInATask(setup) }
                let (threads, descriptors) = (Probe.threads, Probe.descriptors)
                let stacks = Probe.stacks
                for _ in 0..<20 { try await StopMomentTests.runInATask(setup) }
                try eventually("the threads are gone") { Probe.threads < threads + 6 }
                try eventually("the descriptors are closed") { Probe.descriptors <= descriptors }
                // The C library keeps a few for the next threads.
                try eventually("the stacks are unmapped") { Probe.stacks < stacks + 12 }
            }
        }
    }
}
