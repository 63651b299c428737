/// Tests that the program ends when a per-connection variable is used while it is changed: the
/// value would be torn.
import NetAPI
import Testing

@Suite struct PerConnectionTests {
    private static let words = PerConnection<[String]>([])
    private static let count = PerConnection(0)

    private static func change(_ words: inout [String], _ body: () -> Void) {
        words.append("before")
        body()
        words.append("after")
    }

    /// Serves one request in which `body` runs inside a change of `words`.
    private static func serve(_ body: @escaping @Sendable (Connection) -> Void) throws {
        let setup = Setup(backend: .epoll, loops: 1)
        let handler = TestHandler(traffic: { connection in
            change(&connection[words]) { body(connection) }
            return try TestHandler.echo(connection)
        })
        try withServer(setup, handler) { server in
            let isServed = try server.connect().roundTrip("x")
            #expect(isServed)
        }
    }

    /// Expects an end by a signal, not an exit with an error.
    private func expectTrap(_ result: ExitTest.Result?) throws {
        let result = try #require(result)
        guard case .signal = result.exitStatus else {
            Issue.record("\(result.exitStatus)")
            return
        }
    }

    @Test("a change of a variable inside its own change ends the program")
    func aChangeInsideAChangeEndsTheProgram() async throws {
        let result = await #expect(processExitsWith: .failure) {
            try PerConnectionTests.serve { $0[PerConnectionTests.words].append("inside") }
        }
        try expectTrap(result)
    }

    @Test("a read of a variable inside its own change ends the program")
    func aReadInsideAChangeEndsTheProgram() async throws {
        let result = await #expect(processExitsWith: .failure) {
            try PerConnectionTests.serve { connection in
                withExtendedLifetime(connection[PerConnectionTests.words]) {}
            }
        }
        try expectTrap(result)
    }

    @Test("other variables may be changed during a change")
    func otherVariablesMayBeChangedMeanwhile() throws {
        try Self.serve { connection in
            connection[Self.count] += 1
            #expect(connection[Self.count] == 1)
        }
    }

    private static func fail(_ words: inout [String]) throws {
        words.append("half")
        throw Mishap()
    }

    /// A change that throws has ended.
    @Test("a change that throws has ended, and the variable can be used again")
    func aChangeThatThrewIsOver() throws {
        let handler = TestHandler(traffic: { connection in
            #expect(throws: Mishap.self) { try Self.fail(&connection[Self.words]) }
            #expect(connection[Self.words] == ["half"])
            connection[Self.words].removeAll()
            return try TestHandler.echo(connection)
        })
        try withServer(Setup(backend: .epoll, loops: 1), handler) { server in
            let isServed = try server.connect().roundTrip("x")
            #expect(isServed)
        }
    }
}
