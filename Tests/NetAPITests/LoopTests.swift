/// Tests of the thread and the loop that a callback runs on.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct LoopTests {
    @Test("every callback of a loop runs on the loop's one thread", arguments: Setup.all)
    func everyCallbackOfALoopRunsOnItsOneThread(_ setup: Setup) throws {
        let threads = Shared<[Int: Set<UInt>]>([:])
        let note: @Sendable (Loop) -> Void = { loop in
            let (index, thread) = (loop.index, UInt(pthread_self()))
            threads.update { _ = $0[index, default: []].insert(thread) }
        }
        let ticks = Shared<[Int: Int]>([:])
        let handler = TestHandler(
            boot: { loop in
                note(loop)
                return .none
            },
            tick: { loop in
                note(loop)
                let index = loop.index
                ticks.update { $0[index, default: 0] += 1 }
                return .after(.milliseconds(5))
            },
            open: { connection in
                note(connection.loop)
                return .none
            },
            traffic: { connection in
                note(connection.loop)
                return try TestHandler.echo(connection)
            },
            close: { connection, _ in
                note(connection.loop)
                return .none
            })
        let server = try Server(listen: anyPort, options: setup.options()) { handler }
        try serve(server) { server in
            let clients = try (0..<8).map { _ in try server.connect() }
            for client in clients { #expect(try client.roundTrip("hello")) }
            try eventually("later ticks of each loop") {
                ticks.value.count == setup.loops && ticks.value.values.allSatisfy { $0 >= 3 }
            }
        }
        let seen = threads.value
        #expect(seen.keys.sorted() == Array(0..<setup.loops))
        #expect(seen.values.allSatisfy { $0.count == 1 })
        #expect(Set(seen.values.joined()).count == setup.loops, "two loops on one thread")
        #expect(!seen.values.joined().contains(UInt(pthread_self())))
    }

    @Test(
        "each loop makes its own handler on its own thread, and the handler needs no locks",
        arguments: Setup.all)
    func oneHandlerPerLoopIsMadeOnThatLoopAndNeedsNoLocks(_ setup: Setup) throws {
        /// Not Sendable: it has plain variables.
        final class Counting: EventHandler {
            let made = UInt(pthread_self())
            var traffic = 0
            let report: Shared<[Int]>
            let strayed: Shared<Int>

            init(_ report: Shared<[Int]>, _ strayed: Shared<Int>) {
                self.report = report
                self.strayed = strayed
            }

            func onTraffic(_ connection: Connection) -> Action {
                traffic += connection.discardAll()
                connection.write("ok")
                if UInt(pthread_self()) != made { strayed.update { $0 += 1 } }
                return .none
            }

            func onShutdown(_ server: Server) { report.update { $0.append(traffic) } }
        }
        let report = Shared<[Int]>([])
        let strayed = Shared(0)
        let server = try Server(listen: anyPort, options: setup.options()) {
            Counting(report, strayed)
        }
        try serve(server) { server in
            for _ in 0..<10 {
                let client = try server.connect()
                try client.send("0123456789")
                #expect(try client.receiveText(exactly: 2) == "ok")
            }
        }
        #expect(report.value.count == setup.loops)
        #expect(report.value.reduce(0, +) == 100)
        #expect(strayed.value == 0)
    }

    @Test(
        "roundRobin assigns the same number of connections to every loop",
        arguments: Setup.several)
    func roundRobinUsesEveryLoopEqually(_ setup: Setup) throws {
        let loops = Shared<[Int]>([])
        let handler = TestHandler(open: { connection in
            let index = connection.loop.index
            loops.update { $0.append(index) }
            return .none
        })
        try withServer(setup, handler) { server in
            let clients = try (0..<10).map { _ in try server.connect() }
            for client in clients { #expect(try client.roundTrip("x")) }
        }
        for loop in 0..<setup.loops { #expect(loops.value.count { $0 == loop } == 5) }
    }

    @Test(
        "leastConnections assigns new connections to the loop with fewer connections",
        arguments: Setup.several)
    func leastConnectionsFillsTheEmptierLoop(_ setup: Setup) throws {
        let loops = Shared<[Int]>([])
        let handler = TestHandler(open: { connection in
            let index = connection.loop.index
            loops.update { $0.append(index) }
            return .none
        })
        let options = setup.options { $0.balancer = .leastConnections }
        try withServer(setup, handler, options: options) { server in
            var clients = try (0..<6).map { _ in
                let client = try server.connect()
                #expect(try client.roundTrip("x"))
                return client
            }
            let first = loops.value
            // Empties the loop of the first client, so that all the next clients belong there.
            for (index, loop) in first.enumerated().reversed() where loop == first[0] {
                clients.remove(at: index).close()
            }
            try handler.log.waitFor(.close, count: first.count { $0 == first[0] })
            for _ in 0..<3 {
                let client = try server.connect()
                #expect(try client.roundTrip("x"))
                clients.append(client)
            }
            #expect(loops.value.suffix(3).allSatisfy { $0 == first[0] })
        }
    }

    @Test(
        "sourceHash assigns all connections of one peer to the same loop",
        arguments: Setup.several)
    func sourceHashKeepsAPeerOnOneLoop(_ setup: Setup) throws {
        let loops = Shared<Set<Int>>([])
        let handler = TestHandler(open: { connection in
            let index = connection.loop.index
            loops.update { _ = $0.insert(index) }
            return .none
        })
        let options = setup.options { $0.balancer = .sourceHash }
        try withServer(setup, handler, options: options) { server in
            for _ in 0..<10 {
                let client = try server.connect()
                #expect(try client.roundTrip("x"))
            }
        }
        #expect(loops.value.count == 1)
    }

    @Test("a loop lists its connections", arguments: Setup.all)
    func aLoopListsItsConnections(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            let others = connection.loop.connections.count { $0 != connection }
            let ownIsThere = connection.loop.connections.contains { $0 == connection }
            connection.write("\(others) others, \(ownIsThere)")
            return .none
        })
        try withServer(setup, handler) { server in
            let clients = try (0..<3 * setup.loops).map { _ in try server.connect() }
            try handler.log.waitFor(.open, count: clients.count)
            for client in clients {
                try client.send("who is there?")
                #expect(try client.receiveText(exactly: 14) == "2 others, true")
            }
        }
    }
}
