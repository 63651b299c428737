/// Tests of `Options.workers.perConnection`: the work that one connection may have, the counters,
/// and unchanged behaviour otherwise.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct OffloadPerConnectionTests {
    private func allowing(_ setup: Setup, _ count: Int) -> Options {
        setup.options { options in
            options.workers.perConnection = count
            options.allowHalfClosure = true
        }
    }

    @Test(
        "a connection has at most the allowed number of unfinished jobs",
        arguments: Setup.all, [1, 3, 100])
    func noMoreThanThatIsUnfinishedAtOnce(_ setup: Setup, _ limit: Int) throws {
        let unfinished = Unfinished()
        let gate = Gate()
        defer { gate.open() }
        let handler = unfinished.handler { gate.wait() }
        let lines = (0..<1000).map { "\($0)\n" }.joined()
        try withServer(setup, handler, options: allowing(setup, limit)) { server in
            let client = try server.connect()
            try client.send(lines)
            client.shutdownWrite()
            try eventually("as many as may be") { unfinished.now >= limit }
            try eventually("it is counted") { server.server.statistics.offloadPauses >= 1 }
            pause(.milliseconds(50))
            #expect(unfinished.peak == limit)
            #expect(handler.log.count(.halfClose) == 0, "there are unread bytes before the end")
            gate.open()
            #expect(try client.receiveTextUntilEnd() == (lines, .clean))
        }
        #expect(unfinished.peak == limit && unfinished.now == 0)
        #expect(handler.log.count(.halfClose) == 1)
    }

    @Test(
        "a connection below its job limit counts no pauses and no skipped jobs",
        arguments: Setup.all)
    func withoutAQueueNothingIsCounted(_ setup: Setup) throws {
        let unfinished = Unfinished()
        let handler = unfinished.handler()
        try withServer(setup, handler, options: allowing(setup, 2)) { server in
            let client = try server.connect()
            for number in 0..<50 { #expect(try client.roundTrip("\(number)\n")) }
            #expect(server.server.statistics.offloadPauses == 0)
            #expect(server.server.statistics.offloadsSkipped == 0)
        }
    }

    /// Reading pauses because of the server's own work, which does not count against the peer.
    @Test("a pause at the job limit does not count toward the read timeout")
    func aPauseIsNoReadTimeout() async {
        await sideBySide(Setup.all) { setup in
            let options = allowing(setup, 2).with { $0.timeouts.read = .milliseconds(600) }
            let unfinished = Unfinished()
            let gate = Gate()
            defer { gate.open() }
            let handler = unfinished.handler { gate.wait() }
            try withServer(setup, handler, options: options) { server in
                let client = try pausedClient(server)
                // Two clients that connect later, one after the other, are closed before it.
                for _ in 0..<2 {
                    let silent = try server.connect()
                    #expect(try silent.receiveEnd() == .clean)
                }
                #expect(try client.staysSilent(for: .zero))
                gate.open()
                #expect(try client.receiveText(exactly: 8) == "a\nb\nc\nd\n")
            }
        }
    }

    /// Returns a client at its job limit. On a machine that stands still, the read timeout may
    /// close a client before it sends; the next one takes its place.
    private func pausedClient(_ server: TestServer) throws -> TestClient {
        while true {
            let client = try server.connect()
            try? client.send("a\nb\nc\nd\n")
            var isClosed = false
            try eventually("it is paused") {
                isClosed = try client.poll(for: POLLIN, Deadline(.zero))
                return isClosed || server.server.statistics.offloadPauses >= 1
            }
            if !isClosed { return client }
        }
    }

    /// Only some lines need work. The others are answered at once, but not before the work ahead of
    /// them.
    @Test(
        "unread bytes are delivered after the job ends, without another byte from the peer",
        arguments: Setup.all)
    func whatIsUnreadIsShownAgainWithoutAnotherByte(_ setup: Setup) throws {
        let gate = Gate()
        defer { gate.open() }
        let handler = TestHandler(traffic: { connection in
            while let line = try connection.nextLine() {
                let text = String(decoding: line) + "\n"
                guard text == "work\n" else {
                    connection.write(text)
                    continue
                }
                connection.offload {
                    gate.wait()
                } then: { connection, _ in
                    connection.write(text)
                }
            }
            return .none
        })
        try withServer(setup, handler, options: allowing(setup, 1)) { server in
            let client = try server.connect()
            try client.send("a\nwork\nb\nc\nwork\nd")
            #expect(try client.receiveText(exactly: 2) == "a\n")
            #expect(try client.staysSilent(for: .milliseconds(50)))
            gate.open()
            #expect(try client.receiveText(exactly: 14) == "work\nb\nc\nwork\n")
            try client.send("\n")
            #expect(try client.receiveText(exactly: 2) == "d\n")
        }
    }

    @Test(
        "a connection with unread input closes cleanly when the server closes it",
        arguments: Setup.all)
    func whoHasNotReadAllIsClosedLikeAnybody(_ setup: Setup) throws {
        let unfinished = Unfinished()
        let gate = Gate()
        defer { gate.open() }
        let handler = unfinished.handler { gate.wait() }
        try withServer(setup, handler, options: allowing(setup, 2)) { server in
            let clients = try (0..<3).map { _ in try server.connect() }
            for client in clients { try client.send("a\nb\nc\nd\n") }
            try eventually("all are paused") { server.server.statistics.offloadPauses >= 3 }
            server.server.forEachConnection { $0.close() }
            for client in clients { #expect(try client.receiveEnd() == .clean) }
            for client in clients { client.close() }
            try server.waitUntilEmpty()
        }
        #expect(handler.log.reasons == ["local", "local", "local"])
    }

    @Test(
        "a server stops in time while a connection is paused at its job limit",
        arguments: Setup.all)
    func aStopIsInTimeWhileSomebodyIsPaused(_ setup: Setup) throws {
        try promptly("Server.stop", within: .seconds(3)) {
            let unfinished = Unfinished()
            let gate = Gate()
            defer { gate.open() }
            let handler = unfinished.handler { gate.wait() }
            return try withServer(setup, handler, options: allowing(setup, 2)) { server in
                let client = try server.connect()
                try client.send("a\nb\nc\nd\n")
                try eventually("it is paused") { server.server.statistics.offloadPauses >= 1 }
                return try bounded("Server.stop") {
                    elapsed { server.server.stop(within: .milliseconds(500)) }
                }
            }
        }
    }

    /// The jobs on both threads have begun when the clients leave; the others are skipped.
    @Test("waiting jobs of clients that have left are skipped and counted", arguments: Setup.all)
    func workOfWhoHasLeftIsSkippedAndCounted(_ setup: Setup) throws {
        let options = allowing(setup, 4).with { $0.workers.threads = 2 }
        let unfinished = Unfinished()
        let gate = Gate()
        defer { gate.open() }
        let begun = Shared(0)
        let handler = unfinished.handler {
            begun.update { $0 += 1 }
            gate.wait()
        }
        try withServer(setup, handler, options: options) { server in
            let leaving = try (0..<20).map { _ in try server.connect() }
            for client in leaving { try client.send("x\n") }
            try eventually("all have asked") { unfinished.now == leaving.count }
            try eventually("two have begun") { begun.value == 2 }
            for client in leaving { client.reset() }
            try server.waitUntilEmpty()
            gate.open()
            let next = try server.connect()
            #expect(try next.roundTrip("next\n"))
            #expect(server.server.statistics.offloadsSkipped == leaving.count - 2)
            #expect(server.server.statistics.offloadsWaiting == 0)
            #expect(server.server.statistics.offloadRefusals == 0)
        }
        #expect(begun.value == 3)
    }
}
