/// Tests of a connection's limits: marks and caps, and the effect of each.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct BoundsTests {
    private func marks(_ setup: Setup, high: Int, low: Int) -> Options {
        setup.options { options in
            options.limits.outboundHighMark = high
            options.limits.outboundLowMark = low
        }
    }

    @Test("isWritable is false above the high mark until onWritable", arguments: Setup.receiving)
    func isWritableIsFalseAboveTheHighMarkUntilOnWritable(_ setup: Setup) throws {
        let states = Shared<[String]>([])
        let note: @Sendable (String, Connection) -> Void = { place, connection in
            let text = "\(place) \(connection.isWritable)"
            states.update { $0.append(text) }
        }
        let handler = TestHandler(
            traffic: { connection in
                connection.discardAll()
                note("at first", connection)
                connection.write([UInt8](repeating: 1, count: 100_000))
                note("at the mark", connection)
                connection.write([UInt8](repeating: 1, count: 4 << 20))
                note("above", connection)
                return .none
            },
            writable: { connection in
                note("onWritable", connection)
                #expect(connection.outboundBuffered <= 20_000)
                return .none
            })
        try withServer(setup, handler, options: marks(setup, high: 100_000, low: 20_000)) {
            server in
            let client = try server.connect()
            try client.send("x")
            pause(.milliseconds(100))
            _ = try client.receive(exactly: 100_000 + 4 << 20)
            try handler.log.waitFor(.writable)
            pause(.milliseconds(50))
        }
        #expect(
            states.value == [
                "at first true", "at the mark true", "above false", "onWritable true",
            ])
    }

    @Test(
        "onWritable is called once for each time that the output exceeds the high mark",
        arguments: Setup.receiving)
    func onWritableComesOnceForEachTimeAboveTheMark(_ setup: Setup) throws {
        let written = Shared(0)
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            connection.write([UInt8](repeating: 1, count: 8 << 20))
            written.update { $0 += 1 }
            return .none
        })
        try withServer(setup, handler, options: marks(setup, high: 65_536, low: 0)) { server in
            // The receive buffer has a fixed size, and the client does not read during the write.
            // Otherwise the kernel might accept everything, and the mark would not be exceeded.
            let client = try server.connect(receiveBuffer: 65_536)
            for round in 1...3 {
                try client.send("x")
                try eventually("the write of round \(round)") { written.value == round }
                _ = try client.receive(exactly: 8 << 20)
                try handler.log.waitFor(.writable, count: round)
            }
            pause(.milliseconds(50))
        }
        #expect(handler.log.count(.writable) == 3)
    }

    @Test(
        "a producer driven by isWritable and onWritable keeps the output buffer bounded",
        arguments: Setup.receiving)
    func onWritableDrivesAnEndlessProducer(_ setup: Setup) throws {
        let pattern = Pattern(stream: 1)
        let produced = PerConnection(0)
        let peak = Shared(0)
        let produce: TestHandler.OnConnection = { connection in
            connection.discardAll()
            while connection.isWritable && connection[produced] < 32 << 20 {
                connection.write(pattern.bytes(10_000, from: connection[produced]))
                connection[produced] += 10_000
            }
            let waiting = connection.outboundBuffered
            peak.update { $0 = max($0, waiting) }
            return .none
        }
        let handler = TestHandler(open: produce, traffic: TestHandler.ignore, writable: produce)
        try withServer(setup, handler) { server in
            let client = try server.connect(receiveBuffer: 16_384)
            try client.receive(pattern, exactly: 32 << 20)
        }
        #expect(peak.value <= 256 << 10 + 20_000)
    }

    @Test("the connection pauses reading while the peer does not read")
    func readingPausesByItselfWhileThePeerDoesNotRead() async {
        await sideBySide(Setup.receiving) { setup in
            let (taken, waiting) = (Shared(0), Shared(0))
            let handler = TestHandler(traffic: { connection in
                let count = connection.buffered
                taken.update { $0 += count }
                let action = try TestHandler.echo(connection)
                let unsent = connection.outboundBuffered
                waiting.update { $0 = max($0, unsent) }
                return action
            })
            try withServer(setup, handler, options: marks(setup, high: 65_536, low: 16_384)) {
                server in
                var flows = [
                    Flow(try server.connect(receiveBuffer: 4096), stream: 1, length: 64 << 20)
                ]
                try Exchange.push(&flows, untilQuietFor: .milliseconds(300))
                try eventually("it pauses") { server.server.statistics.readPauses >= 1 }
                let before = try settled("the bytes delivered") { taken.value }
                #expect(before < 64 << 20)
                flows = flows.map { $0.cutHere() }
                try Exchange.run(&flows)
                #expect(taken.value == flows[0].sent)
            }
            // The mark, what one turn delivers above it, and once more what was in flight.
            let most = 65_536 + 2 * (256 << 10)
            #expect(waiting.value <= most, "bytes were delivered above the mark: \(waiting.value)")
        }
    }

    /// Each byte is a request with a much longer answer. Whenever the peer reads, a few requests
    /// are answered. While that fills the queue again, no further input may be read.
    @Test(
        "pipelined requests are not read faster than they are answered",
        arguments: Setup.receiving)
    func aPipelineIsNotReadFasterThanItIsAnswered(_ setup: Setup) throws {
        let answer = [UInt8](repeating: 1, count: 2000)
        let peak = Shared(0)
        let isOver = Shared(false)
        let serve: TestHandler.OnConnection = { connection in
            while connection.isWritable, connection.buffered > 0 {
                connection.discard(1)
                connection.write(answer)
            }
            let unread = connection.buffered
            if !isOver.value { peak.update { $0 = max($0, unread) } }
            return .none
        }
        let handler = TestHandler(traffic: serve, writable: serve)
        try withServer(setup, handler, options: marks(setup, high: 65_536, low: 16_384)) { server in
            let client = try server.connect(receiveBuffer: 16_384)
            let requests = [UInt8](repeating: 0, count: 1 << 20)
            for _ in 0..<60 {
                _ = try requests.withUnsafeBytes { try client.sendSome($0) }
                _ = try client.receive(exactly: 400_000)
            }
            #expect(server.server.statistics.overflowCloses == 0)
            // The client closes with a reset, and then the remaining input is delivered.
            isOver.update { $0 = true }
        }
        // The input of one stream before its stop, and once more during the stop.
        #expect(peak.value <= 512 << 10, "\(peak.value) bytes were left unread")
    }

    @Test(
        "output above the outbound limit resets the connection with outboundOverflow",
        arguments: Setup.receiving)
    func theOutboundCapClosesWithItsReason(_ setup: Setup) throws {
        let options = setup.options { $0.limits.outboundBytes = 1 << 20 }
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            connection.write([UInt8](repeating: 1, count: 1 << 20))
            #expect(connection.isOpen)
            connection.write([UInt8](repeating: 1, count: 1 << 20))
            return .none
        })
        try withServer(setup, handler, options: options) { server in
            let client = try server.connect()
            try client.send("x")
            #expect(try client.receiveUntilEnd().end.isReset)
            try handler.log.waitFor(.close)
            #expect(server.server.statistics.overflowCloses == 1)
        }
        #expect(handler.log.reasons == ["outboundOverflow"])
    }

    @Test(
        "unread input above the inbound limit closes the connection with inboundOverflow",
        arguments: Setup.receiving)
    func theInboundCapClosesAHandlerThatLeavesEverythingUnread(_ setup: Setup) throws {
        let options = setup.options { $0.limits.inboundBytes = 100_000 }
        let most = Shared(0)
        let handler = TestHandler(traffic: { connection in
            let unread = connection.buffered
            most.update { $0 = max($0, unread) }
            return .none
        })
        try withServer(setup, handler, options: options) { server in
            let client = try server.connect()
            #expect(throws: SystemFailure.self) { try client.sendUntilRefused() }
            try handler.log.waitFor(.close)
            #expect(server.server.statistics.overflowCloses == 1)
        }
        #expect(handler.log.reasons == ["inboundOverflow"])
        // One chunk may come on top of the cap.
        #expect(most.value <= 100_000 + 262_144)
    }

    @Test(
        "a handler that leaves less than the inbound limit unread stays connected",
        arguments: Setup.receiving)
    func aHandlerThatLeavesLessThanTheCapUnreadGoesOn(_ setup: Setup) throws {
        let options = setup.options { $0.limits.inboundBytes = 100_000 }
        let handler = TestHandler(traffic: { connection in
            if connection.buffered >= 90_000 { connection.write(connection.next()) }
            return .none
        })
        try withServer(setup, handler, options: options) { server in
            let client = try server.connect()
            for _ in 0..<5 {
                let bytes = Pattern(stream: 1).bytes(90_000)
                try client.send(bytes, chunk: 7000)
                #expect(try client.receive(exactly: 90_000) == bytes)
            }
        }
    }

    @Test("a frame may exceed the inbound limit up to its own limit", arguments: Setup.receiving)
    func aFrameMayBeLargerThanTheInboundCapUpToItsOwnLimit(_ setup: Setup) throws {
        let options = setup.options { $0.limits.inboundBytes = 16_384 }
        let handler = TestHandler(traffic: { connection in
            while let frame = try connection.nextFrame(length: UInt32.self, limit: 1 << 20) {
                connection.writeFrame(frame, length: UInt32.self)
            }
            return .none
        })
        try withServer(setup, handler, options: options) { server in
            let client = try server.connect()
            for size in [1 << 20, 20_000, 10, 1 << 20] {
                let header = (0..<4).map { UInt8(truncatingIfNeeded: size >> (24 - 8 * $0)) }
                let bytes = header + Pattern(stream: 3).bytes(size)
                let sender = Worker { try client.send(bytes, chunk: 30_000) }
                #expect(try client.receive(exactly: bytes.count) == bytes)
                try sender.join("sending a frame")
            }
        }
    }

    @Test(
        "the server refuses connections of one host above connectionsPerHost",
        arguments: Setup.receiving)
    func oneHostHasOnlySoManyConnections(_ setup: Setup) throws {
        let options = setup.options { $0.limits.connectionsPerHost = 3 }
        try withServer(setup, options: options) { server in
            let clients = try (0..<3).map { _ in try server.connect() }
            for client in clients { #expect(try client.roundTrip("one of three")) }
            let fourth = try server.connect()
            _ = try fourth.receiveEnd()
            #expect(server.server.statistics.hostRefusals == 1)
            clients[0].close()
            // The host's count follows the descriptor, which io_uring closes later.
            try eventually("another one is served in its place") {
                (try? server.connect().roundTrip("in its place")) == true
            }
        }
    }

    /// A client that resets before its connection is accepted is still subtracted from the count.
    @Test(
        "connections that the client resets at once no longer count for their host",
        arguments: Setup.receiving)
    func hostsThatResetAtOnceAreForgotten(_ setup: Setup) throws {
        let options = setup.options { $0.limits.connectionsPerHost = 3 }
        try withServer(setup, options: options) { server in
            for _ in 0..<50 {
                let client = try server.connect()
                client.reset()
            }
            // The last connection may be accepted and not yet opened, which no counter shows.
            try eventually("three of the same host are served") {
                let clients = try (0..<3).map { _ in try server.connect() }
                defer { for client in clients { client.close() } }
                return clients.allSatisfy { (try? $0.roundTrip("one of three")) == true }
            }
            #expect(server.server.statistics.accepted >= 53)
        }
    }

    @Test("a callback that blocks its loop counts as a slow turn", arguments: Setup.single)
    func aCallbackThatHoldsItsLoopIsNoticed(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            pause(.milliseconds(150))
            connection.write(connection.next())
            return .none
        })
        try withServer(setup, handler) { server in
            #expect(try server.connect().roundTrip("slow"))
            try eventually("it is counted") { server.server.statistics.slowTurns >= 1 }
            #expect(server.server.statistics.longestTurn >= .milliseconds(140))
        }
    }

    @Test(
        "timers and closures that block their loop are reported in the statistics",
        arguments: Setup.single)
    func timersAndClosuresThatHoldTheirLoopAreNoticedToo(_ setup: Setup) throws {
        let handler = TestHandler(open: { connection in
            connection.loop.schedule(after: .milliseconds(20)) { pause(.milliseconds(150)) }
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try eventually("the timer is") { server.server.statistics.slowTurns >= 1 }
            server.server.forEachConnection { _ in pause(.milliseconds(400)) }
            try eventually("the closure is") {
                server.server.statistics.longestTurn >= .milliseconds(390)
            }
            #expect(try client.roundTrip("x"))
        }
    }

    @Test(
        "connections above the limit wait until other connections close",
        arguments: Setup.receiving)
    func connectionsAboveTheLimitWaitUntilThereIsRoom(_ setup: Setup) throws {
        let options = setup.options { $0.limits.connections = 10 }
        let handler = TestHandler()
        try withServer(setup, handler, options: options) { server in
            var clients = try (0..<15).map { _ in try server.connect() }
            for client in clients { try client.send("x") }
            try handler.log.waitFor(.open, count: 10)
            pause(.milliseconds(100))
            #expect(handler.log.count(.open) == 10)
            #expect(Probe.processorShare(over: .milliseconds(500)) < 0.05 || Probe.isSanitized)
            for client in clients.prefix(5) { client.close() }
            clients.removeFirst(5)
            for client in clients { #expect(try client.receiveText(exactly: 1) == "x") }
            #expect(server.server.connectionCount == 10)
        }
        #expect(handler.log.count(.open) == 15)
    }
}
