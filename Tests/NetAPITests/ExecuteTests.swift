/// Tests of closures posted to loops and connections from other threads: all run, in order, and
/// none after the end.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ExecuteTests {
    private static func sharing(_ loops: Shared<[LoopHandle]>) -> TestHandler {
        TestHandler(
            open: { connection in
                loops.update { [handle = connection.loop.handle] in $0.append(handle) }
                return .none
            })
    }

    /// A post that a loop overlooks before it sleeps would wait for the next event.
    @Test("posts from sixteen threads, five thousand each, all run in order", arguments: Setup.all)
    func sixteenThreadsOfFiveThousandPostsAllRunInOrder(_ setup: Setup) throws {
        let loops = Shared<[LoopHandle]>([])
        let handler = Self.sharing(loops)
        let next = Shared([Int](repeating: 0, count: 16))
        let disorder = Shared(0)
        try withServer(setup, handler) { server in
            let clients = try (0..<setup.loops).map { _ in try server.connect() }
            try handler.log.waitFor(.open, count: clients.count)
            let targets = loops.value
            let threads = (0..<16).map { thread in
                Worker {
                    var random = SplitMix64(seed: UInt64(thread))
                    let deadline = Deadline()
                    for number in 0..<5000 {
                        let post: @Sendable (Loop) -> Void = { _ in
                            next.update { next in
                                if next[thread] != number { disorder.update { $0 += 1 } }
                                next[thread] = number + 1
                            }
                        }
                        // A loop that gets no processor time refuses posts beyond its mailbox's
                        // capacity.
                        while !targets[thread % targets.count].execute(post) {
                            try deadline.check("post \(number)")
                            usleep(300)
                        }
                        if Int.random(in: 0..<200, using: &random) == 0 { usleep(300) }
                    }
                }
            }
            for thread in threads { try thread.join("5,000 posts") }
            try eventually("all 80,000 ran") { next.value.allSatisfy { $0 == 5000 } }
        }
        #expect(disorder.value == 0)
    }

    @Test("a single post to a sleeping loop is never lost", arguments: Setup.all)
    func aLonePostToASleepingLoopIsNeverLost(_ setup: Setup) throws {
        let loops = Shared<[LoopHandle]>([])
        let handler = Self.sharing(loops)
        try withServer(setup, handler) { server in
            let clients = try (0..<setup.loops).map { _ in try server.connect() }
            try handler.log.waitFor(.open, count: clients.count)
            var random = SplitMix64(seed: 25)
            for number in 0..<1000 {
                let ran = Shared(false)
                loops.value[number % setup.loops].execute { _ in ran.value = true }
                let deadline = Deadline()
                while !ran.value { try deadline.check("post \(number)") }
                usleep(UInt32.random(in: 0...100, using: &random))
            }
        }
    }

    @Test("execute on a handle runs on the loop with that connection", arguments: Setup.all)
    func executeOnAConnectionRunsOnItsLoopWithIt(_ setup: Setup) throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = HandleTests.sharing(handles, traffic: TestHandler.ignore)
        try withServer(setup, handler) { server in
            let clients = try (0..<4).map { _ in try server.connect() }
            try handler.log.waitFor(.open, count: 4)
            for handle in handles.value {
                handle.execute { connection in
                    connection.write(connection.handle == handle ? "you" : "somebody else")
                }
            }
            for client in clients { #expect(try client.receiveText(exactly: 3) == "you") }
        }
    }

    @Test("execute does not run after the connection closed", arguments: Setup.all)
    func executeDoesNotRunAfterClose(_ setup: Setup) throws {
        let handles = Shared<[ConnectionHandle]>([])
        let ran = Shared(0)
        let handler = HandleTests.sharing(handles, traffic: TestHandler.ignore)
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try handler.log.waitFor(.open)
            client.close()
            try handler.log.waitFor(.close)
            let old = handles.value[0]
            // The next connections may get its slot.
            let others = try (0..<50).map { _ in try server.connect() }
            try handler.log.waitFor(.open, count: 51)
            for _ in 0..<10 { old.execute { _ in ran.update { $0 += 1 } } }
            old.write("to nobody")
            #expect(!handles.value.dropFirst().contains(old))
            // Each loop runs these behind the posts above, and its next turn sends their bytes.
            for round in 1...2 {
                let passed = Shared(0)
                server.server.forEachConnection { _ in passed.update { $0 += 1 } }
                try eventually("round \(round) of the loops") { passed.value == others.count }
            }
            for other in others { #expect(try !other.poll(for: POLLIN, Deadline(.zero))) }
        }
        #expect(ran.value == 0)
    }

    @Test("execute returns false after the server stopped", arguments: Setup.all)
    func afterTheServerStoppedExecuteSaysSo(_ setup: Setup) throws {
        let loops = Shared<[LoopHandle]>([])
        let handler = Self.sharing(loops)
        let ran = Shared(false)
        try withServer(setup, handler) { server in
            let client = try server.connect()
            #expect(try client.roundTrip("x"))
        }
        #expect(loops.value[0].execute { _ in ran.value = true } == false)
        #expect(!ran.value)
    }

    /// Accepted posts run; refused posts do not.
    @Test("posts that race with a stop either run or are refused", arguments: Setup.all)
    func postsThatRaceWithAStopEitherRunOrAreRefused(_ setup: Setup) throws {
        for _ in 0..<10 {
            let loops = Shared<[LoopHandle]>([])
            let handler = Self.sharing(loops)
            let accepted = Shared(0)
            let ran = Shared(0)
            let threads = try withServer(setup, handler) { server in
                let client = try server.connect()
                #expect(try client.roundTrip("x"))
                return (0..<4).map { _ in
                    Worker {
                        while loops.value[0].execute({ _ in ran.update { $0 += 1 } }) {
                            accepted.update { $0 += 1 }
                            usleep(20)
                        }
                    }
                }
            }
            for thread in threads { try thread.join("a posting thread") }
            try eventually("all that was accepted ran") { ran.value >= accepted.value }
            #expect(ran.value == accepted.value)
        }
    }

    @Test("forEachConnection reaches every connection", arguments: Setup.all)
    func forEachConnectionReachesEachOnceOnItsLoop(_ setup: Setup) throws {
        let handler = TestHandler()
        try withServer(setup, handler) { server in
            let clients = try (0..<20).map { _ in try server.connect() }
            try handler.log.waitFor(.open, count: 20)
            #expect(server.server.connectionCount == 20)
            server.server.forEachConnection { $0.write("all of you") }
            for client in clients {
                #expect(try client.receiveText(exactly: 10) == "all of you")
                #expect(try client.roundTrip("x"))
            }
        }
    }
}
