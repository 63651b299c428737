/// Tests of a connection's variables: they exist from `onOpen` to `onClose`, for that connection
/// only.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct StateTests {
    final class Visitor: Sendable {
        let name: String
        let alive: Shared<Int>

        init(_ name: String, _ alive: Shared<Int>) {
            self.name = name
            self.alive = alive
            alive.update { $0 += 1 }
        }

        deinit { alive.update { $0 -= 1 } }
    }

    @Test("the context is readable in onClose and is released afterwards", arguments: Setup.all)
    func theContextIsReadableInOnCloseAndLetGoAfterwards(_ setup: Setup) throws {
        let alive = Shared(0)
        let names = Shared<[String?]>([])
        let handler = TestHandler(
            open: { connection in
                #expect(connection.context == nil)
                connection.context = Visitor("of \(connection.remoteAddress)", alive)
                return .none
            },
            close: { connection, _ in
                let name = (connection.context as? Visitor)?.name
                names.update { $0.append(name) }
                return .none
            })
        try withServer(setup, handler) { server in
            let clients = try (0..<10).map { _ in try server.connect() }
            let expected = try clients.map { "of \(try $0.localText)" }
            try handler.log.waitFor(.open, count: 10)
            try eventually("ten contexts") { alive.value == 10 }
            for client in clients { client.close() }
            try eventually("contexts let go") { alive.value == 0 }
            #expect(Set(names.value.compactMap { $0 }) == Set(expected))
        }
    }

    @Test(
        "each connection has its own variables, which are readable in onClose",
        arguments: Setup.all)
    func variablesOfAConnectionAreItsOwnAndReadableInOnClose(_ setup: Setup) throws {
        let count = PerConnection(0)
        let words = PerConnection<[String]>([])
        let seen = Shared<[String]>([])
        let handler = TestHandler(
            traffic: { connection in
                while let line = try connection.nextLine() {
                    connection[count] += 1
                    connection[words].append(String(decoding: line))
                    connection.write("\(connection[count])\n")
                }
                return .none
            },
            close: { connection, _ in
                let text = "\(connection[count]): \(connection[words].joined(separator: " "))"
                seen.update { $0.append(text) }
                return .none
            })
        try withServer(setup, handler) { server in
            let clients = try (0..<8).map { _ in try server.connect() }
            for round in 1...3 {
                for (number, client) in clients.enumerated() {
                    try client.send("w\(number).\(round)\n")
                    #expect(try client.receiveText(exactly: 2) == "\(round)\n")
                }
            }
        }
        let expected = (0..<8).map { "3: w\($0).1 w\($0).2 w\($0).3" }
        #expect(Set(seen.value) == Set(expected))
    }

    @Test(
        "a variable is created once per connection, at its first read, on the connection's loop",
        arguments: Setup.all)
    func aVariableIsMadeOnceWhenFirstReadOnItsLoop(_ setup: Setup) throws {
        let made = Shared<[Int]>([])
        let home = PerConnection(make: { connection in
            let index = connection.loop.index
            made.update { $0.append(index) }
            return "loop \(index)"
        })
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            _ = connection[home]
            #expect(connection[home] == "loop \(connection.loop.index)")
            connection.write("ok")
            return .none
        })
        try withServer(setup, handler) { server in
            let silent = try server.connect()
            let clients = try (0..<4).map { _ in try server.connect() }
            try handler.log.waitFor(.open, count: 5)
            #expect(made.value.isEmpty)
            for _ in 0..<2 {
                for client in clients {
                    try client.send("x")
                    #expect(try client.receiveText(exactly: 2) == "ok")
                }
            }
            #expect(made.value.count == 4)
            silent.close()
        }
    }

    @Test(
        "a closed connection's variables are released and the next connection starts with new ones",
        arguments: Setup.all)
    func variablesAreLetGoWithTheirConnectionAndFreshInTheNext(_ setup: Setup) throws {
        let alive = Shared(0)
        let visitor = PerConnection<Visitor?>(nil)
        let handler = TestHandler(traffic: { connection in
            let name = String(decoding: connection.next())
            connection.write(connection[visitor]?.name ?? "nobody")
            connection[visitor] = Visitor(name, alive)
            return .none
        })
        try withServer(setup, handler) { server in
            for _ in 0..<20 {
                let client = try server.connect()
                try client.send("first")
                #expect(try client.receiveText(exactly: 6) == "nobody")
                try client.send("second")
                #expect(try client.receiveText(exactly: 5) == "first")
                #expect(alive.value == 1)
                client.close()
                try eventually("the variable let go") { alive.value == 0 }
            }
        }
    }

    @Test("forty variables of one connection keep separate values", arguments: Setup.all)
    func manyVariablesLiveSideBySide(_ setup: Setup) throws {
        let variables = (0..<40).map { PerConnection($0 * 100) }
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            for variable in variables.reversed() { connection[variable] += 1 }
            connection.write(variables.map { "\(connection[$0])" }.joined(separator: " "))
            connection.write("\n")
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            for round in 1...3 {
                let expected = (0..<40).map { "\($0 * 100 + round)" }.joined(separator: " ") + "\n"
                try client.send("x")
                #expect(try client.receiveText(exactly: expected.utf8.count) == expected)
            }
        }
    }
}
