/// Tests of a server's life as a table: in each state each call does what its documentation says,
/// and no call hangs.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct LifeTests {
    /// Everything that can be read of a server, as one cell of the table.
    private static func look(_ server: Server) -> String {
        let copies = word {
            let found = try server.duplicateListeners(of: anyPort)
            for copy in found { close(copy) }
            return "\(found.count) listener"
        }
        let listens = word {
            try server.stopListening(on: try server.listen(on: anyPort))
            return "listens"
        }
        let bound = server.boundAddresses.isEmpty ? "unbound" : "bound"
        let accepted = server.statistics.accepted
        return
            "\(copies), \(listens), \(bound), \(server.connectionCount) open, \(accepted) accepted"
    }

    private static func start(_ server: Server) throws -> String {
        try bounded("Server.start") {
            word {
                try server.start()
                return "returned"
            }
        }
    }

    private static func run(_ server: Server) throws -> String {
        try bounded("Server.run") { word { try server.run().name } }
    }

    private static func runAsync(_ server: Server) async throws -> String {
        try await patiently("await Server.run") {
            await asyncWord { try await server.run().name }
        }
    }

    /// Makes every call that requests a stop. Each returns at once if there is nothing to wait for.
    private static func stopInEveryWay(_ server: Server) async throws {
        try bounded("Server.stop") { server.stop() }
        try await patiently("await Server.stop") { await server.stop() }
        server.requestStop()
    }

    /// Calls that wait for the end.
    private final class Waiting: Sendable {
        private let workers: [Worker<String>]
        private let tasks: [Task<String, any Error>]

        init(_ server: Server, within limit: Duration) {
            workers = [
                Worker { try server.run().name },
                Worker {
                    server.stop(within: limit)
                    return "stopped"
                },
            ]
            tasks = [
                Task<String, any Error> { try await server.run().name },
                Task<String, any Error> {
                    await server.stop(within: limit)
                    return "stopped"
                },
            ]
        }

        var hasOneReturned: Bool { workers.contains { $0.isDone } }

        func expectTheEnd() async throws {
            for worker in workers { #expect(try worker.join("run or stop") == "stopped") }
            for task in tasks {
                #expect(try await patiently("run or stop") { try await task.value } == "stopped")
            }
        }
    }

    private static func busyHandler(_ inBoot: Shared<[String]>) -> TestHandler {
        TestHandler(
            boot: { loop in
                let server = loop.server
                let started = word {
                    try server.start()
                    return "returned"
                }
                let ran = word { try server.run().name }
                let seen = look(server)
                inBoot.update { $0 = [started, ran, seen] }
                return .none
            },
            open: { connection in
                connection.isBusy = true
                return .none
            })
    }

    /// The states: ready, in onBoot, serving, draining, ended.
    @Test(
        "a server that is started and stopped reports its state correctly at each step",
        arguments: Setup.all)
    func aServerThatServesAndIsStopped(_ setup: Setup) async throws {
        let (inBoot, reached) = (Shared<[String]>([]), Shared(0))
        let handler = Self.busyHandler(inBoot)
        let server = try Server(handler, listen: anyPort, options: setup.options())
        #expect(Self.look(server) == "unsupported, unsupported, unbound, 0 open, 0 accepted")
        server.forEachConnection { _ in reached.update { $0 += 1 } }

        #expect(try Self.start(server) == "returned")
        #expect(
            inBoot.value == [
                "returned", "unsupported", "1 listener, listens, bound, 0 open, 0 accepted",
            ])
        let client = try TestClient(to: server.boundAddresses[0])
        #expect(try client.roundTrip("serving"))
        #expect(try Self.start(server) == "returned")
        #expect(Self.look(server) == "1 listener, listens, bound, 1 open, 1 accepted")
        server.forEachConnection { _ in reached.update { $0 += 1 } }
        try eventually("the connection is reached") { reached.value == 1 }
        let running = Worker { try server.run().name }

        let limit = patience * 8
        server.requestStop(within: limit)
        try eventually("the listener closes") {
            Self.look(server) == "closed, closed, bound, 1 open, 1 accepted"
        }
        #expect(try Self.start(server) == "closed")
        let waiting = Waiting(server, within: limit)
        server.forEachConnection { _ in reached.update { $0 += 1 } }
        try eventually("the connection is reached") { reached.value == 2 }
        #expect(try client.roundTrip("draining"))
        pause(.milliseconds(50))
        #expect(!running.isDone && !waiting.hasOneReturned, "a busy connection holds the drain")

        server.requestStop(within: .zero)
        #expect(try client.receiveEnd().isReset)
        #expect(try running.join("Server.run") == "stopped")
        try await waiting.expectTheEnd()
        #expect(Self.look(server) == "closed, closed, bound, 0 open, 1 accepted")
        #expect(try Self.start(server) == "closed")
        #expect(try Self.run(server) == "stopped")
        #expect(try await Self.runAsync(server) == "stopped")
        server.forEachConnection { _ in reached.update { $0 += 1 } }
        try await Self.stopInEveryWay(server)
        #expect(reached.value == 2)
        #expect(handler.log.count(.boot) == 1 && handler.log.count(.shutdown) == 1)
        handler.log.checkLives()
    }

    enum Stopping: String, CaseIterable, Sendable {
        case stop, awaitStop, requestStop, cancelledRun
    }

    /// The states: ready, ended.
    @Test(
        "a server that is stopped before its start stays closed and runs no callback",
        arguments: Setup.all, Stopping.allCases)
    func aServerThatIsStoppedBeforeItStarts(_ setup: Setup, _ stopping: Stopping) async throws {
        let handler = TestHandler()
        let server = try Server(handler, listen: anyPort, options: setup.options())
        switch stopping {
        case .stop: try bounded("Server.stop") { server.stop() }
        case .awaitStop: try await patiently("await Server.stop") { await server.stop() }
        case .requestStop: server.requestStop()
        case .cancelledRun:
            let task = Task {
                while !Task.isCancelled { await Task.yield() }
                return try await server.run().name
            }
            task.cancel()
            #expect(try await patiently("await run") { try await task.value } == "stopped")
        }
        #expect(Self.look(server) == "closed, closed, unbound, 0 open, 0 accepted")
        #expect(try Self.start(server) == "closed")
        #expect(try Self.run(server) == "stopped")
        #expect(try await Self.runAsync(server) == "stopped")
        server.forEachConnection { $0.close() }
        try await Self.stopInEveryWay(server)
        #expect(Self.look(server) == "closed, closed, unbound, 0 open, 0 accepted")
        #expect(handler.log.callbacks.isEmpty, "it never was")
    }

    /// The states: ready, in onBoot, failed.
    @Test("a server whose onBoot throws is closed and cannot start again", arguments: Setup.all)
    func aServerWhoseBootFails(_ setup: Setup) async throws {
        let address = Shared<Address?>(nil)
        let handler = TestHandler(boot: { loop in
            let bound = loop.server.boundAddresses.first
            address.value = bound
            throw Mishap()
        })
        let server = try Server(handler, listen: anyPort, options: setup.options())
        #expect(try Self.start(server) == "system")
        #expect(Self.look(server) == "closed, closed, unbound, 0 open, 0 accepted")
        #expect(try Self.start(server) == "unsupported")
        #expect(try Self.run(server) == "unsupported")
        #expect(try await Self.runAsync(server) == "unsupported")
        server.forEachConnection { $0.close() }
        try await Self.stopInEveryWay(server)
        #expect(try Self.start(server) == "unsupported")
        let bound = try #require(address.value)
        #expect(throws: SystemFailure.self) { try TestClient(to: bound) }
        #expect(handler.log.callbacks == [.boot])
    }

    /// The first `run` throws the cause, like `start`.
    @Test("run throws if onBoot throws", arguments: Setup.all)
    func aRunWhoseBootFailsThrows(_ setup: Setup) async throws {
        for isAsync in [false, true] {
            let handler = TestHandler(boot: { _ in throw Mishap() })
            let server = try Server(handler, listen: anyPort, options: setup.options())
            let said = try await isAsync ? Self.runAsync(server) : Self.run(server)
            #expect(said == "system")
            try await Self.stopInEveryWay(server)
        }
    }

    /// A call that waits in onBoot would wait for itself, so none does. Tasks that wait are
    /// resumed.
    @Test("a stop requested in onBoot happens after the start", arguments: Setup.all)
    func whatIsAskedForInOnBootHappensAfterTheStart(_ setup: Setup) async throws {
        let said = Shared<[String]>([])
        let tasks = Shared<[Task<String, any Error>]>([])
        let handler = TestHandler(boot: { loop in
            let server = loop.server
            let run = Task<String, any Error> { try await server.run().name }
            let stop = Task<String, any Error> {
                await server.stop()
                return "stopped"
            }
            tasks.value = [run, stop]
            let started = word {
                try server.start()
                return "returned"
            }
            let ran = word { try server.run().name }
            server.stop()
            server.requestStop()
            said.value = [started, ran]
            return .none
        })
        let server = try Server(handler, listen: anyPort, options: setup.options())
        try server.startUnlessStopped()
        #expect(said.value == ["returned", "unsupported"])
        for task in tasks.value {
            #expect(try await patiently("a task of onBoot") { try await task.value } == "stopped")
        }
        #expect(try Self.run(server) == "stopped")
        #expect(Self.look(server) == "closed, closed, bound, 0 open, 0 accepted")
        #expect(handler.log.callbacks.last == .shutdown)
    }
}
