/// Tests of clients that reset in the backlog: they are reported and counted with their real
/// addresses.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ResetBeforeAcceptTests {
    /// Runs `body` with clients of a blocked loop that accepts by itself; all have reset before it
    /// continues.
    private func withResetClients(
        _ setup: Setup, options: Options, count: Int, _ handler: TestHandler,
        _ body: (TestServer, _ names: [String]) throws -> Void
    ) throws {
        let gate = Gate()
        var handler = handler
        handler.traffic = { connection in
            connection.discardAll()
            gate.wait()
            return .none
        }
        try withServer(setup, handler, options: options) { server in
            defer { gate.open() }
            let blocker = try server.connect()
            try blocker.send("block")
            try eventually("the loop is held up") { gate.isReached }
            let names = try (0..<count).map { _ in
                let client = try server.connect()
                defer { client.reset() }
                return try client.localText
            }
            gate.open()
            try eventually("all are accepted") {
                server.server.statistics.accepted == count + 1
            }
            try body(server, names)
            blocker.close()
        }
    }

    @Test(
        "connections that reset in the backlog report their real addresses",
        arguments: Setup.single)
    func theirAddressesAreTheRealOnes(_ setup: Setup) throws {
        let seen = Shared<[String]>([])
        let handler = TestHandler(
            open: { connection in
                let text = connection.remoteAddress.description
                seen.update { $0.append(text) }
                return .none
            },
            close: { connection, _ in
                let text = connection.remoteAddress.description
                seen.update { $0.append(text) }
                return .none
            })
        try withResetClients(setup, options: setup.options(), count: 20, handler) { server, names in
            try eventually("all but one have closed") { handler.log.count(.close) == names.count }
            #expect(names.allSatisfy { $0.hasPrefix("tcp://127.0.0.1:") })
            for name in names {
                // In `onOpen` and in `onClose`.
                #expect(seen.value.count { $0 == name } == 2, "\(name)")
            }
        }
    }

    /// The blocking client is the only connection that one host may have.
    @Test(
        "connections that reset in the backlog count toward the limit of their host",
        arguments: Setup.single)
    func theyCountForTheirHost(_ setup: Setup) throws {
        let options = setup.options { $0.limits.connectionsPerHost = 1 }
        let handler = TestHandler()
        try withResetClients(setup, options: options, count: 20, handler) { server, names in
            try eventually("all are refused") {
                server.server.statistics.hostRefusals == names.count
            }
            #expect(handler.log.count(.open) == 1)
        }
    }
}
