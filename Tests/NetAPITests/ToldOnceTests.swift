/// Tests that a program's closures are called exactly once, at any moment of the loop's end.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ToldOnceTests {
    /// The number of calls of each of many closures.
    private final class Tellings: Sendable {
        private let counts: Shared<[Int]>

        init(_ count: Int) { counts = Shared([Int](repeating: 0, count: count)) }

        func tell(_ place: Int) { counts.update { $0[place] += 1 } }

        func expectOnce(_ location: SourceLocation = #_sourceLocation) throws {
            try eventually("each is told") { counts.value.allSatisfy { $0 > 0 } }
            let strange = counts.value.count { $0 != 1 }
            #expect(strange == 0, "\(strange) were told twice", sourceLocation: location)
        }
    }

    /// An address that is served, one without a listener, and an invalid one.
    private static func places(_ server: TestServer) -> [Address] {
        [server.addresses[0], "tcp://127.0.0.1:1", "howdy"]
    }

    @Test("each connect during a stop reports its result once", arguments: Setup.all)
    func eachConnectBesideAStopIsToldOnce(_ setup: Setup) throws {
        try withServer(setup) { server in
            let places = Self.places(server)
            for round in 0..<5 {
                let client = try Client(TestHandler(), options: setup.options())
                try bounded("Client.start") { try client.start() }
                let tellings = Tellings(240)
                let threads = (0..<4).map { thread in
                    Worker {
                        for number in 0..<60 {
                            client.connect(to: places[number % 3]) { _ in
                                tellings.tell(thread * 60 + number)
                            }
                        }
                    }
                }
                if round > 0 { pause(.microseconds(round * 100)) }
                try bounded("Client.stop") { client.stop(within: .seconds(5)) }
                for thread in threads { try thread.join("a connecting thread") }
                try tellings.expectOnce()
                #expect(client.connectionCount == 0)
            }
        }
    }

    @Test("each awaited connect during a stop returns", arguments: Setup.all)
    func eachAwaitedConnectBesideAStopReturns(_ setup: Setup) async throws {
        try await withAsyncServer(setup, TestHandler()) { server in
            let places = Self.places(server)
            for round in 0..<5 {
                let client = try Client(TestHandler(), options: setup.options())
                try bounded("Client.start") { try client.start() }
                let tasks = (0..<90).map { number in
                    Task { _ = try? await client.connect(to: places[number % 3]) }
                }
                if round > 0 { pause(.microseconds(round * 100)) }
                try await patiently("await Client.stop") { await client.stop(within: .seconds(5)) }
                try await patiently("each connect returns") {
                    for task in tasks { await task.value }
                }
                #expect(client.connectionCount == 0)
            }
        }
    }

    /// Posted to loops that never run.
    @Test(
        "each connect of a client whose start fails reports its result once",
        arguments: Setup.all)
    func connectsOfAClientWhoseStartFailsAreTold(_ setup: Setup) throws {
        let tellings = Tellings(40)
        let late = Tellings(1)
        let box = Shared<Client?>(nil)
        defer { box.value = nil }
        let handler = TestHandler(boot: { _ in
            let client = box.value
            for number in 0..<40 {
                let place: Address = number % 2 == 0 ? "tcp://127.0.0.1:1" : "howdy"
                client?.connect(to: place) { _ in tellings.tell(number) }
            }
            throw Mishap()
        })
        let client = try Client(handler, options: setup.options())
        box.value = client
        #expect(throws: NetError.self) {
            try bounded("Client.start") { try client.start() }
        }
        try tellings.expectOnce()
        client.connect(to: anyPort) { _ in late.tell(0) }
        try late.expectOnce()
    }

    /// The last loop's handler fails, and with it all loops.
    @Test(
        "each connect posted in onBoot of a server that fails reports its result once",
        arguments: Setup.all)
    func connectsPostedInOnBootOfAServerThatFailsAreTold(_ setup: Setup) throws {
        let (asked, told) = (Shared(0), Shared(0))
        let handler = TestHandler(boot: { loop in
            let places: [Address] = ["tcp://127.0.0.1:1", "howdy"]
            for place in places {
                let isTaken = loop.handle.execute { loop in
                    loop.connect(to: place) { _ in told.update { $0 += 1 } }
                }
                if isTaken { asked.update { $0 += 1 } }
            }
            if loop.index == setup.loops - 1 { throw Mishap() }
            return .none
        })
        let server = try Server(listen: anyPort, options: setup.options()) { handler }
        #expect(throws: NetError.self) {
            try bounded("Server.start") { try server.start() }
        }
        #expect(asked.value >= 2)
        try eventually("each is told") { told.value >= asked.value }
        #expect(told.value == asked.value)
    }

    /// The connect is started by a loop that never runs.
    @Test(
        "a connect started in onBoot of a server that fails reports its result once",
        arguments: Setup.all)
    func aConnectBegunInOnBootOfAServerThatFailsIsTold(_ setup: Setup) throws {
        let listener = try RawListener()
        let before = Probe.descriptors
        let tellings = Tellings(3)
        let handler = TestHandler(boot: { loop in
            loop.connect(to: listener.address) { _ in tellings.tell(0) }
            loop.connect(to: "tcp://127.0.0.1:1") { _ in tellings.tell(1) }
            loop.connect(to: "howdy") { _ in tellings.tell(2) }
            throw Mishap()
        })
        let server = try Server(handler, listen: anyPort, options: setup.options())
        #expect(throws: NetError.self) {
            try bounded("Server.start") { try server.start() }
        }
        try tellings.expectOnce()
        try eventually("every descriptor closed") { Probe.descriptors <= before }
    }

    /// Such an error has no connection to close, and does not stop a server.
    @Test(
        "an error thrown in a failed connect's closure affects no connection and no server",
        arguments: Setup.all, ["howdy", "tcp://127.0.0.1:1", "unix:///nowhere/at-all"])
    func aConnectThatFailsAndThrowsHarmsNobody(_ setup: Setup, _ place: String) throws {
        let tried = Shared(0)
        let handler = TestHandler(traffic: { connection in
            connection.loop.connect(to: Address(stringLiteral: place)) { result in
                tried.update { $0 += 1 }
                _ = try result.get()
            }
            return try TestHandler.echo(connection)
        })
        try withServer(setup, handler) { server in
            let clients = try (0..<4).map { _ in try server.connect() }
            for round in 1...5 {
                for client in clients { #expect(try client.roundTrip("\(round)")) }
                try eventually("each is told") { tried.value == round * clients.count }
            }
            #expect(try server.connect().roundTrip("a new one"))
        }
        #expect(handler.log.reasons.allSatisfy { $0 != "handlerError" })
    }

    /// Returns the results of a handle's calls, and records the results passed to `sent`.
    private static func calls(
        _ handle: ConnectionHandle, _ told: Shared<[String]>
    ) -> [Bool] {
        let note: @Sendable (Result<Void, NetError>) -> Void = { result in
            let said = word {
                try result.get()
                return "sent"
            }
            told.update { $0.append(said) }
        }
        return [
            handle.execute { _ in }, handle.wake(), handle.write("text", sent: note),
            handle.write([1, 2], sent: note), handle.write([[3], [4]], sent: note),
        ]
    }

    @Test("a loop that is behind refuses calls, and their closures know", arguments: Setup.single)
    func aFullMailboxSaysSo(_ setup: Setup) throws {
        let (gate, handles, ran) = (Gate(), Shared<[ConnectionHandle]>([]), Shared(0))
        defer { gate.open() }
        let handler = HandleTests.sharing(
            handles,
            traffic: { connection in
                connection.discardAll()
                gate.wait()
                return .none
            })
        let told = Shared<[String]>([])
        try withServer(setup, handler, listen: ["tcp://127.0.0.1:0"]) { server in
            let client = try server.connect()
            try handler.log.waitFor(.open)
            try client.send("x")
            try eventually("the loop is held up") { gate.isReached }
            let handle = handles.value[0]
            var taken = 0
            while handle.execute({ _ in ran.update { $0 += 1 } }), taken < 100_000 { taken += 1 }
            #expect(taken >= 60_000 && taken < 70_000, "\(taken)")
            #expect(Self.calls(handle, told) == [Bool](repeating: false, count: 5))
            #expect(told.value == ["overloaded", "overloaded", "overloaded"])
            gate.open()
            try eventually("what was taken has run") { ran.value == taken }
            #expect(server.server.statistics.refusedPosts >= 6)
        }
    }

    @Test(
        "each call on a connection handle returns whether the loop accepts it",
        arguments: Setup.all)
    func aHandleSaysWhetherItsLoopTakesWhatItIsGiven(_ setup: Setup) throws {
        let handles = Shared<[ConnectionHandle]>([])
        let (first, second, third) = (
            Shared<[String]>([]), Shared<[String]>([]), Shared<[String]>([])
        )
        let handler = HandleTests.sharing(handles, traffic: TestHandler.ignore)
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try handler.log.waitFor(.open)
            let handle = handles.value[0]
            #expect(Self.calls(handle, first) == [Bool](repeating: true, count: 5))
            try eventually("all are sent") { first.value.count == 3 }
            #expect(try client.receive(exactly: 8) == Array("text".utf8) + [1, 2, 3, 4])
            client.close()
            try handler.log.waitFor(.close)
            // The loop accepts the calls and finds the connection closed.
            #expect(Self.calls(handle, second) == [Bool](repeating: true, count: 5))
            try eventually("all are refused") { second.value.count == 3 }
        }
        #expect(Self.calls(handles.value[0], third) == [Bool](repeating: false, count: 5))
        #expect(first.value == ["sent", "sent", "sent"])
        #expect(second.value == ["closed", "closed", "closed"])
        #expect(third.value == ["closed", "closed", "closed"], "at once, on this thread")
    }

    /// The stop comes between the posts.
    @Test("each write during a stop reports its result once")
    func eachWriteBesideAStopIsToldOnce() async {
        await sideBySide(Setup.all) { setup in
            for round in 0..<10 {
                let handles = Shared<[ConnectionHandle]>([])
                let handler = HandleTests.sharing(handles, traffic: TestHandler.ignore)
                let server = try Server(handler, listen: anyPort, options: setup.options())
                try bounded("Server.start") { try server.start() }
                let client = try TestClient(to: server.boundAddresses[0])
                try handler.log.waitFor(.open)
                let handle = handles.value[0]
                let tellings = Tellings(2000)
                let threads = (0..<4).map { thread in
                    Worker {
                        for number in 0..<500 {
                            handle.write("x") { _ in tellings.tell(thread * 500 + number) }
                        }
                    }
                }
                if round > 0 { pause(.microseconds(round * 50)) }
                try bounded("Server.stop") { server.stop(within: .seconds(5)) }
                for thread in threads { try thread.join("a writing thread") }
                try tellings.expectOnce()
                client.close()
            }
        }
    }
}
