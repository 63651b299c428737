/// Tests of a pipe in one direction only: the end is forwarded, and bytes written by hand in the
/// other direction still arrive.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct OneWayPipeTests {
    /// The client's input is piped; the upstream's answers are written by the handler.
    private func withOneWayPipe(
        _ setup: Setup, to target: Address, _ body: (TestServer) throws -> Void
    ) throws {
        let front = PerConnection<Connection?>(nil)
        var handler = TestHandler()
        handler.open = { connection in
            guard connection.isAccepted else { return .none }
            connection.connect(to: target) { client, back in
                back[front] = client
                client.pipe(to: back)
            }
            return .none
        }
        handler.traffic = { connection in
            connection[front]?.write(connection.next())
            return .none
        }
        try withServer(setup, handler, body)
    }

    @Test(
        "a client that has ended its side receives the answers",
        arguments: Setup.receiving, [1, 300_000])
    func aClientThatHasEndedItsSideGetsTheAnswers(_ setup: Setup, size: Int) throws {
        let (up, down) = (Pattern(stream: 14), Pattern(stream: 15))
        let upstream = try RawListener()
        try withOneWayPipe(setup, to: upstream.address) { proxy in
            let client = try proxy.connect()
            let far = try upstream.accept()
            try client.send(up.bytes(size))
            client.shutdownWrite()
            #expect(try far.receiveUntilEnd(up) == (size, .clean))
            let answer = Worker { try client.receiveUntilEnd(down) }
            try far.send(down.bytes(size))
            // The client's end does not end the connection; the upstream's end does.
            pause(.milliseconds(50))
            #expect(!answer.isDone)
            far.close()
            #expect(try answer.join("the answer") == (size, .clean))
            client.close()
            try proxy.waitUntilEmpty()
        }
    }

    @Test("a client receives answers while it still sends", arguments: Setup.receiving)
    func answersGoOutWhileTheClientStillSends(_ setup: Setup) throws {
        let upstream = try RawListener()
        try withOneWayPipe(setup, to: upstream.address) { proxy in
            let client = try proxy.connect()
            let far = try upstream.accept()
            for round in 0..<10 {
                try client.send("ask \(round)")
                #expect(try far.receiveText(exactly: 5) == "ask \(round)")
                try far.send("tell \(round)")
                #expect(try client.receiveText(exactly: 6) == "tell \(round)")
            }
            far.close()
            #expect(try client.receiveEnd() == .clean)
            client.close()
            try proxy.waitUntilEmpty()
        }
    }

    @Test("a target with two sources ends when the last source ends", arguments: Setup.receiving)
    func ofTwoSourcesTheLastOneEndsTheTarget(_ setup: Setup) throws {
        let sources = try [RawListener(), RawListener()]
        var handler = TestHandler(traffic: TestHandler.ignore)
        let targets = sources.map(\.address)
        handler.open = { connection in
            guard connection.isAccepted else { return .none }
            for target in targets {
                connection.connect(to: target) { front, back in back.pipe(to: front) }
            }
            return .none
        }
        try withServer(setup, handler) { server in
            let client = try server.connect()
            let far = try sources.map { try $0.accept() }
            try far[0].send("first, ")
            #expect(try client.receiveText(exactly: 7) == "first, ")
            try far[1].send("second, ")
            #expect(try client.receiveText(exactly: 8) == "second, ")
            far[0].shutdownWrite()
            #expect(try client.staysSilent(for: .milliseconds(100)))
            try far[1].send(Pattern(stream: 16).bytes(500_000))
            try client.receive(Pattern(stream: 16), exactly: 500_000)
            far[1].shutdownWrite()
            #expect(try client.receiveEnd() == .clean)
            client.close()
            for far in far { far.close() }
            try server.waitUntilEmpty()
        }
    }
}
