/// Tests that an object captured by a program's closure may call the library in its deinit, on any
/// thread.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ReleaseTests {
    /// Counts live objects; each calls the server in its deinit.
    private final class Guests: Sendable {
        private let counts = Shared((made: 0, gone: 0))

        var alive: Int { counts.update { $0.made - $0.gone } }
        var made: Int { counts.update { $0.made } }

        func guest(of server: Server) -> Guest {
            counts.update { $0.made += 1 }
            return Guest(self, server)
        }

        final class Guest: Sendable {
            private let guests: Guests
            private let server: Server

            fileprivate init(_ guests: Guests, _ server: Server) {
                self.guests = guests
                self.server = server
            }

            deinit {
                _ = server.statistics
                _ = server.boundAddresses
                server.forEachConnection { _ in }
                guests.counts.update { $0.gone += 1 }
            }

            func use() {}
        }
    }

    @Test(
        "an object held by a finished job may call the server in its deinit",
        arguments: Setup.all)
    func workThatHasRunMayAskTheServer(_ setup: Setup) throws {
        let guests = Guests()
        let options = setup.options { $0.workers.threads = 1 }
        let handler = TestHandler(traffic: { connection in
            while try connection.nextLine() != nil {
                let (first, second) = (
                    guests.guest(of: connection.server), guests.guest(of: connection.server)
                )
                connection.offload {
                    // Slower than the requests, so that more jobs wait.
                    pause(.microseconds(500))
                    first.use()
                } then: { connection, _ in
                    second.use()
                    connection.write("x")
                }
            }
            return .none
        })
        try withServer(setup, handler, options: options) { server in
            let clients = try (0..<8).map { _ in try server.connect() }
            for client in clients { try client.send(String(repeating: "\n", count: 50)) }
            for client in clients {
                #expect(try client.receiveText(exactly: 50) == String(repeating: "x", count: 50))
            }
            try eventually("all are let go of") { guests.alive == 0 }
        }
        #expect(guests.made == 800)
    }

    /// The jobs belong to connections that have closed, or that the stop cut off.
    @Test(
        "an object held by a job that never ran may call the server in its deinit",
        arguments: Setup.all, [true, false])
    func workThatNeverRanMayAskTheServer(_ setup: Setup, _ clientsLeave: Bool) throws {
        let guests = Guests()
        let gate = Gate()
        defer { gate.open() }
        let options = setup.options { $0.workers.threads = 1 }
        let handler = TestHandler(traffic: { connection in
            let guest = guests.guest(of: connection.server)
            connection.discardAll()
            connection.offload {
                gate.wait()
                guest.use()
            } then: { _, _ in
            }
            return .none
        })
        let server = try Server(handler, listen: anyPort, options: options)
        try bounded("Server.start") { try server.start() }
        let clients = try (0..<8).map { _ in try TestClient(to: server.boundAddresses[0]) }
        for client in clients { try client.send("x") }
        try eventually("all have asked") { guests.made == clients.count }
        if clientsLeave {
            for client in clients { client.reset() }
            try handler.log.waitFor(.close, count: clients.count)
        }
        try bounded("Server.stop") { server.stop(within: .milliseconds(500)) }
        gate.open()
        try eventually("all are let go of") { guests.alive == 0 }
    }

    @Test(
        "an object held by a posted closure may call the server in its deinit",
        arguments: Setup.all)
    func postedClosuresMayAskTheServer(_ setup: Setup) throws {
        let guests = Guests()
        let handles = Shared<[LoopHandle]>([])
        let ran = Shared(0)
        let handler = TestHandler(open: { connection in
            handles.update { [handle = connection.loop.handle] in $0.append(handle) }
            return .none
        })
        let server = try Server(handler, listen: anyPort, options: setup.options())
        let post: @Sendable (Int) -> Void = { number in
            let guest = guests.guest(of: server)
            handles.value[number % handles.value.count].execute { _ in
                guest.use()
                ran.update { $0 += 1 }
            }
        }
        try serve(server) { server in
            let client = try server.connect()
            #expect(try client.roundTrip("x"))
            for number in 0..<1000 { post(number) }
            try eventually("all ran") { ran.value == 1000 }
            try eventually("all are let go of") { guests.alive == 0 }
            // These are in the mailbox at the stop.
            for number in 0..<1000 { post(number) }
        }
        for number in 0..<10 { post(number) }
        try eventually("all are let go of") { guests.alive == 0 }
        #expect(guests.made == 2010)
    }

    /// Timers that fired, that were cancelled, whose connection has closed, and that the stop cut
    /// off.
    @Test("an object held by a timer may call the server in its deinit", arguments: Setup.all)
    func timersMayAskTheServer(_ setup: Setup) throws {
        let guests = Guests()
        let handler = TestHandler(traffic: { connection in
            let text = String(decoding: connection.next())
            for delay in [Duration.zero, .seconds(300)] {
                for number in 0..<5 {
                    let guest = guests.guest(of: connection.server)
                    let timer =
                        number % 2 == 0
                        ? connection.loop.schedule(after: delay) { guest.use() }
                        : connection.schedule(after: delay) { _ in guest.use() }
                    if number == 4 { timer.cancel() }
                }
            }
            connection.schedule(after: .milliseconds(1)) { $0.write(text) }
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            for _ in 0..<10 { #expect(try client.roundTrip("x")) }
            client.close()
            try handler.log.waitFor(.close)
        }
        try eventually("all are let go of") { guests.alive == 0 }
        #expect(guests.made == 100)
    }

    private final class Mishaps: Error {
        private let guest: Guests.Guest
        init(_ guest: Guests.Guest) { self.guest = guest }
    }

    @Test(
        "an object held by an error of onBoot may call the server in its deinit",
        arguments: Setup.all)
    func anErrorOfOnBootMayAskTheServer(_ setup: Setup) throws {
        let guests = Guests()
        let handler = TestHandler(boot: { loop in
            throw Mishaps(guests.guest(of: loop.server))
        })
        let server = try Server(handler, listen: anyPort, options: setup.options())
        #expect(throws: NetError.self) {
            try bounded("Server.start") { try server.start() }
        }
        try eventually("the error is let go of") { guests.alive == 0 }
        #expect(guests.made == 1)
    }
}
