/// Tests of a socket that stays open after `onClose` for its peer. The handler, the connection
/// count and a stop do not wait for it, and no peer can keep it open.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct LingeringTests {
    private static let replyAndClose: TestHandler.OnConnection = { connection in
        connection.discardAll()
        connection.write("bye")
        return .close
    }

    /// `gap` is in milliseconds.
    @Test(
        "a lingering peer that sends single bytes is disconnected after a bounded time",
        arguments: [5, 50])
    func aPeerThatDripsIsCutOff(gap: Int) async {
        await sideBySide(Setup.receiving) { setup in
            let linger = 200
            let options = setup.options { $0.timeouts.linger = .milliseconds(linger) }
            // Twice the linger time, and more for a machine that is busy. Where the loop alone
            // stands still for long, one round has more.
            let most = 10 * linger / gap
            var rounds: [Int] = []
            repeat {
                rounds.append(try drips(setup, options, every: .milliseconds(gap)))
            } while rounds.last! > most && rounds.count < 10
            #expect(rounds.last! <= most, "\(rounds)")
        }
    }

    /// Returns the number of single bytes that a lingering peer can send.
    private func drips(_ setup: Setup, _ options: Options, every gap: Duration) throws -> Int {
        let handler = TestHandler(traffic: Self.replyAndClose)
        var drips = 0
        try withServer(setup, handler, options: options) { server in
            let client = try server.connect()
            try client.send("x")
            #expect(try client.receiveText(exactly: 3) == "bye")
            try handler.log.waitFor(.close)
            let deadline = Deadline()
            while (try? client.send([0])) != nil {
                drips += 1
                try deadline.check("an end of the sending, after \(drips) bytes")
                pause(gap)
            }
            try eventually("the socket is let go of") { server.server.statistics.lingering == 0 }
        }
        #expect(handler.log.count(.traffic) == 1)
        return drips
    }

    @Test("onClose and the connection count do not wait for the peer", arguments: Setup.receiving)
    func onCloseAndTheCountDoNotWaitForThePeer(_ setup: Setup) throws {
        // Longer than the test waits for anything.
        let options = setup.options { $0.timeouts.linger = patience * 8 }
        let handler = TestHandler(traffic: Self.replyAndClose)
        try withServer(setup, handler, options: options) { server in
            let client = try server.connect()
            try client.send("x")
            try handler.log.waitFor(.close)
            try server.waitUntilEmpty()
            // The client has received everything and sends nothing, so the socket does not wait for
            // its end.
            try eventually("the socket is let go of") { server.server.statistics.lingering == 0 }
            #expect(try client.receiveTextUntilEnd() == ("bye", .clean))
        }
        #expect(handler.log.reasons == ["local"])
    }

    /// Stops a server whose clients are idle and keep their sides open. Returns the stop's time.
    private func stopWithIdleClients(_ setup: Setup, count: Int) throws -> Duration {
        let options = setup.options { $0.timeouts.linger = .seconds(30) }
        let handler = TestHandler()
        let server = try Server(handler, listen: anyPort, options: options)
        try bounded("Server.start") { try server.start() }
        let clients = try (0..<count).map { _ in try TestClient(to: server.boundAddresses[0]) }
        for client in clients { #expect(try client.roundTrip("x")) }
        pause(.milliseconds(50))
        let time = try bounded("Server.stop") { elapsed { server.stop(within: .seconds(30)) } }
        #expect(server.connectionCount == 0)
        for client in clients { #expect(try client.receiveEnd() == .clean) }
        #expect(handler.log.count(.close) == count)
        handler.log.checkLives()
        return time
    }

    /// On a busy machine the time is that of the machine, so the shortest of a few counts.
    @Test("a stop with a thousand idle peers takes less than 0.2 s", arguments: Setup.all)
    func aStopDoesNotWaitForPeersThatAreIdle(_ setup: Setup) throws {
        try #require(Probe.allowDescriptors(5_000))
        var times: [Duration] = []
        repeat {
            times.append(try stopWithIdleClients(setup, count: 1_000))
        } while times.count < 5 && times[times.count - 1] >= Self.idleStopTime
        #expect(times.contains { $0 < Self.idleStopTime }, "\(times)")
    }

    /// Longer where all is slow, under a sanitizer for instance.
    private static let idleStopTime = max(.milliseconds(200), patience / 150)

    /// Each byte that it sends would make the kernel reset a socket that was closed too early.
    @Test("a client that continues to send receives the whole reply", arguments: Setup.receiving)
    func aReplyArrivesWholeAtAClientThatGoesOnSending(_ setup: Setup) throws {
        let (pattern, size) = (Pattern(stream: 4), 4_000_000)
        let handler = TestHandler(traffic: { connection in
            guard connection.buffered >= 1_000 else { return .none }
            connection.write(pattern.bytes(size))
            return .close
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            let isOver = Shared(false)
            let sender = Worker {
                let piece = Pattern(stream: 5).bytes(1_000)
                while !isOver.value, (try? client.send(piece)) != nil { pause(.milliseconds(1)) }
            }
            defer { isOver.value = true }
            let (count, end) = try client.receiveUntilEnd(pattern)
            #expect(count == size)
            #expect(end == .clean)
            isOver.value = true
            try sender.join("the sending")
            client.close()
        }
        #expect(handler.log.reasons == ["local"])
    }

    // MARK: Kept connections

    /// Returns a client that reads its reply so late that the socket lingers until then.
    private func slowClient(_ server: TestServer) throws -> TestClient {
        let client = try server.connect(receiveBuffer: 4096)
        try client.send("x")
        return client
    }

    private static let replySize = 20_000

    private func expectReply(_ client: TestClient, _ server: TestServer) throws {
        let (bytes, end) = try client.receiveUntilEnd()
        #expect(bytes.count == Self.replySize)
        #expect(end == .clean)
        try eventually("the socket is let go of") { server.server.statistics.lingering == 0 }
    }

    /// Makes every call that a program may make on a `Connection`. It runs on the connection's
    /// loop, where a `Connection` must stay.
    private static func call(
        _ kept: Connection, _ number: PerConnection<Int>, _ complaints: Shared<[String]>
    ) {
        let complain: @Sendable (String) -> Void = { text in
            complaints.update { $0.append(text) }
        }
        if kept.isOpen { complain("isOpen") }
        if kept.isWritable { complain("isWritable") }
        if kept.isBusy { complain("isBusy") }
        if kept.isAccepted { complain("isAccepted") }
        if kept.remoteAddress != .unknown { complain("remoteAddress \(kept.remoteAddress)") }
        if kept.context != nil { complain("context") }
        if kept[number] != 0 { complain("a variable") }
        kept.write("to nobody")
        kept.write([1, 2, 3])
        kept.flush()
        if kept.buffered != 0 || kept.outboundBuffered != 0 { complain("buffered") }
        kept.close()
        kept.shutdownWrite()
        kept.pauseReading()
        kept.resumeReading()
        kept.schedule(after: .zero) { _ in complain("schedule") }
        kept.handle.execute { _ in complain("execute") }
        kept.handle.write("to nobody") { result in
            if case .failure(let error) = result, error.code == .closed { return }
            complain("handle.write told \(result)")
        }
        do throws(NetError) {
            try kept.set(.noDelay(true))
            complain("set")
        } catch {
            if error.code != .closed { complain("set threw \(error)") }
        }
        kept[number] += 1
        if kept[number] != 0 { complain("a variable was kept") }
        kept.context = complaints
        if kept.context != nil { complain("a context was kept") }
    }

    /// A host is counted as long as its socket exists.
    @Test(
        "after onClose the connection reads as closed and none of its objects is kept",
        arguments: Setup.all, [Int.max, 10])
    func afterOnCloseItReadsAsClosedAndNothingIsKept(_ setup: Setup, perHost: Int) throws {
        let options = setup.options { $0.limits.connectionsPerHost = perHost }
        let (alive, complaints, rounds) = (Shared(0), Shared<[String]>([]), Shared(0))
        let number = PerConnection(0)
        let visitor = PerConnection<StateTests.Visitor?>(nil)
        let handler = TestHandler(
            traffic: { connection in
                connection.discardAll()
                connection[number] = 7
                connection[visitor] = StateTests.Visitor("a variable", alive)
                connection.context = StateTests.Visitor("the context", alive)
                connection.write([UInt8](repeating: 1, count: Self.replySize))
                return .close
            },
            close: { connection, _ in
                if connection[number] != 7 || alive.value != 2 {
                    complaints.update { $0.append("gone before onClose") }
                }
                let loop = connection.loop
                loop.schedule(after: .zero) {
                    if alive.value != 0 { complaints.update { $0.append("alive") } }
                    if connection.server.statistics.lingering != 1 {
                        complaints.update { $0.append("the socket does not linger") }
                    }
                    Self.call(connection, number, complaints)
                    // Once more, after the posted closures would have run.
                    loop.schedule(after: .milliseconds(20)) {
                        Self.call(connection, number, complaints)
                        rounds.update { $0 += 1 }
                    }
                }
                return .none
            })
        try withServer(setup, handler, options: options) { server in
            let client = try slowClient(server)
            try eventually("all is tried") { rounds.value == 1 }
            try expectReply(client, server)
        }
        #expect(Set(complaints.value) == [])
    }

    @Test("an abort after onClose does nothing", arguments: Setup.all)
    func anAbortAfterOnCloseDoesNothing(_ setup: Setup) throws {
        let isAborted = Shared(false)
        let handler = TestHandler(
            traffic: { connection in
                connection.discardAll()
                connection.write([UInt8](repeating: 1, count: Self.replySize))
                return .close
            },
            close: { connection, _ in
                connection.loop.schedule(after: .zero) {
                    connection.abort()
                    connection.handle.abort()
                    isAborted.value = true
                }
                return .none
            })
        try withServer(setup, handler) { server in
            let client = try slowClient(server)
            try eventually("the abort") { isAborted.value }
            pause(.milliseconds(50))
            try expectReply(client, server)
        }
    }

    @Test("a handle reports closed while the socket lingers", arguments: Setup.all)
    func aHandleIsToldClosedWhileTheSocketLingers(_ setup: Setup) async throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = TestHandler(traffic: { connection in
            let handle = connection.handle
            handles.update { $0.append(handle) }
            connection.discardAll()
            connection.write([UInt8](repeating: 1, count: Self.replySize))
            return .close
        })
        try await withAsyncServer(setup, handler) { server in
            let client = try slowClient(server)
            try handler.log.waitFor(.close)
            let handle = handles.value[0]
            let error = await #expect(throws: NetError.self) { try await handle.send([1]) }
            #expect(error?.code == .closed)
            let other = await #expect(throws: NetError.self) {
                _ = try await handle.run { _ in 1 }
            }
            #expect(other?.code == .closed)
            try expectReply(client, server)
        }
    }

    @Test("the remote address is unknown after the connection has closed", arguments: Setup.all)
    func anAddressIsUnknownOnceTheConnectionHasClosed(_ setup: Setup) throws {
        let texts = Shared<[String]>([])
        let handler = TestHandler(close: { connection, _ in
            let note = {
                let text = connection.remoteAddress.description
                texts.update { $0.append(text) }
            }
            note()
            // The socket may still exist at the first, and does not at the second.
            connection.loop.schedule(after: .zero) { note() }
            connection.loop.schedule(after: .milliseconds(100)) { note() }
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            let name = try client.localText
            #expect(try client.roundTrip("x"))
            client.close()
            try eventually("all looks") { texts.value.count == 3 }
            #expect(texts.value == [name, "unknown", "unknown"])
        }
    }
}
