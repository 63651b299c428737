/// Tests of a reset while reading is paused: it is noticed, and earlier bytes are delivered. An end
/// of stream waits until reading resumes.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ResetWhilePausedTests {
    /// Pauses after the first bytes and never resumes.
    private func pausing(_ shown: PerConnection<[UInt8]>, _ ends: Shared<[[UInt8]]>) -> TestHandler
    {
        var handler = TestHandler()
        handler.traffic = { connection in
            connection[shown] += connection.readArray()
            connection.pauseReading()
            // Only once: a write to a closed peer would cause a reset.
            if connection[shown].count == 1 { connection.write("!") }
            return .none
        }
        handler.close = { connection, _ in
            let bytes = connection[shown]
            ends.update { $0.append(bytes) }
            return .none
        }
        return handler
    }

    private func pausedClient(_ server: TestServer) throws -> TestClient {
        let client = try server.connect()
        try client.send("x")
        #expect(try client.receiveText(exactly: 1) == "!")
        return client
    }

    @Test("a reset during a pause closes and releases the connection", arguments: Setup.receiving)
    func aResetIsNoticedAndLetsGo(_ setup: Setup) throws {
        let (shown, ends) = (PerConnection<[UInt8]>([]), Shared<[[UInt8]]>([]))
        let handler = pausing(shown, ends)
        try withServer(setup, handler) { server in
            let clients = try (0..<10).map { _ in try pausedClient(server) }
            for client in clients { client.reset() }
            try eventually("all have closed") { ends.value.count == 10 }
            try eventually("none is left") {
                server.server.connectionCount == 0
            }
        }
        #expect(handler.log.reasons == Array(repeating: "reset", count: 10))
        #expect(handler.log.count(.traffic) == 10, "nothing more had come")
    }

    @Test(
        "bytes received before the reset are delivered during a pause",
        arguments: Setup.receiving)
    func whatCameBeforeTheResetIsShown(_ setup: Setup) throws {
        let pattern = Pattern(stream: 11)
        // An amount that a kernel accepts at once for a connection that is not read.
        let size = 20_000
        let (shown, ends) = (PerConnection<[UInt8]>([]), Shared<[[UInt8]]>([]))
        let handler = pausing(shown, ends)
        try withServer(setup, handler) { server in
            let client = try pausedClient(server)
            try client.sendAndReset(pattern.bytes(size))
            try eventually("it has closed") { ends.value.count == 1 }
            try eventually("none is left") {
                server.server.connectionCount == 0
            }
        }
        #expect(ends.value == [[UInt8("x".utf8.first!)] + pattern.bytes(size)])
        #expect(handler.log.reasons == ["reset"])
    }

    /// The peer has closed, not only ended its side, and still everything waits.
    @Test("the end of stream is not reported before reading resumes", arguments: Setup.receiving)
    func anEndIsNotToldBeforeTheConnectionIsReadAgain(_ setup: Setup) throws {
        let (shown, ends) = (PerConnection<[UInt8]>([]), Shared<[[UInt8]]>([]))
        let handle = Shared<ConnectionHandle?>(nil)
        var handler = pausing(shown, ends)
        handler.open = { connection in
            handle.value = connection.handle
            return .none
        }
        try withServer(setup, handler) { server in
            let client = try pausedClient(server)
            try client.send("the rest")
            client.close()
            #expect(Probe.processorShare(over: .milliseconds(400)) < 0.05 || Probe.isSanitized)
            #expect(handler.log.count(.traffic) == 1)
            #expect(handler.log.count(.close) == 0)
            handle.value?.execute { $0.resumeReading() }
            try eventually("the rest is shown") { handler.log.count(.traffic) == 2 }
            #expect(handler.log.count(.close) == 0, "it has paused again")
            handle.value?.execute { $0.resumeReading() }
            try handler.log.waitFor(.close)
        }
        #expect(ends.value == [Array("xthe rest".utf8)])
    }

    /// The source of a pipe is not read while the target does not accept its bytes.
    @Test("a reset by the source of a full pipe is detected", arguments: Setup.receiving)
    func aResetBehindAFullPipeIsNoticed(_ setup: Setup) throws {
        let pattern = Pattern(stream: 12)
        let upstream = try RawListener()
        try withPipes(setup, to: upstream.address) { proxy, handler in
            let (client, far) = try connectThrough(proxy, upstream)
            let arrived = try client.fill(pattern)
            client.reset()
            try eventually("the source has closed") {
                handler.log.reasons.first == "reset"
            }
            let (count, end) = try far.receiveUntilEnd(pattern)
            #expect(count >= arrived, "\(arrived) bytes had come")
            #expect(end.isReset)
            far.close()
            try proxy.waitUntilEmpty()
        }
    }
}
