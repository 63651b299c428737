/// Tests of paused reading: no bytes are delivered during the pause. After it all are, in order,
/// with the end last.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct PauseTests {
    /// Reads nothing until the test resumes reading by its handle.
    private func pausing(_ handles: Shared<[ConnectionHandle]>) -> TestHandler {
        TestHandler(open: { connection in
            connection.pauseReading()
            handles.update { [handle = connection.handle] in $0.append(handle) }
            return .none
        })
    }

    @Test(
        "a paused connection delivers nothing, and everything after it resumes",
        arguments: Setup.receiving)
    func nothingIsDeliveredWhilePausedAndEverythingAfterwards(_ setup: Setup) throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = pausing(handles)
        try withServer(setup, handler) { server in
            let client = try server.connect()
            let pattern = Pattern(stream: 2)
            let sender = Worker { try client.send(pattern.bytes(8 << 20)) }
            #expect(try client.staysSilent(for: .milliseconds(200)))
            #expect(handler.log.count(.traffic) == 0)
            handles.value[0].execute { $0.resumeReading() }
            try client.receive(pattern, exactly: 8 << 20)
            try sender.join("sending 8 MiB")
        }
    }

    @Test("the peer's end is reported after reading resumes", arguments: Setup.receiving)
    func thePeersEndIsToldAfterResume(_ setup: Setup) throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = pausing(handles)
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("before the end")
            client.shutdownWrite()
            #expect(try client.staysSilent(for: .milliseconds(150)))
            #expect(handler.log.callbacks.contains(.close) == false)
            #expect(Probe.processorShare(over: .milliseconds(300)) < 0.05 || Probe.isSanitized)
            handles.value[0].execute { $0.resumeReading() }
            #expect(try client.receiveTextUntilEnd() == ("before the end", .clean))
        }
        #expect(handler.log.reasons == ["peer"])
    }

    /// EPOLLHUP cannot be masked: with level-triggered epoll it would spin.
    @Test(
        "a Unix peer that closes during a pause uses no processor time",
        arguments: Setup.receiving)
    func aUnixPeerThatLeavesDuringAPauseCostsNothing(_ setup: Setup) throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = pausing(handles)
        let address = Address.unix(TemporaryPath.make())
        try withServer(setup, handler, listen: [address]) { server in
            let client = try server.connect()
            try client.send("unread")
            try handler.log.waitFor(.open)
            client.close()
            #expect(Probe.processorShare(over: .seconds(1)) < 0.05 || Probe.isSanitized)
            #expect(handler.log.count(.close) == 0)
            handles.value[0].execute { $0.resumeReading() }
            try handler.log.waitFor(.close)
        }
    }

    @Test(
        "a pause in the middle of a stream keeps the order of its bytes",
        arguments: Setup.receiving)
    func pausingInTheMiddleOfAStreamKeepsItsOrder(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            connection.write(connection.next())
            connection.pauseReading()
            connection.schedule(after: .milliseconds(2)) { $0.resumeReading() }
            return .none
        })
        try withServer(setup, handler) { server in
            var flows = try (0..<4).map {
                Flow(try server.connect(), stream: $0, length: 2 << 20)
            }
            try Exchange.run(&flows)
        }
    }

    @Test("pausing and resuming from other threads loses no bytes", arguments: Setup.receiving)
    func pausingAndResumingFromOtherThreadsLosesNothing(_ setup: Setup) throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = TestHandler(open: { connection in
            handles.update { [handle = connection.handle] in $0.append(handle) }
            return .none
        })
        try withServer(setup, handler) { server in
            var flows = try (0..<2).map {
                Flow(try server.connect(), stream: $0, length: 4 << 20)
            }
            try handler.log.waitFor(.open, count: 2)
            let stop = Shared(false)
            let toggler = Worker {
                var random = SplitMix64(seed: 44)
                while !stop.value {
                    usleep(UInt32.random(in: 0...1000, using: &random))
                    for handle in handles.value {
                        handle.execute { $0.pauseReading() }
                        handle.execute { $0.resumeReading() }
                    }
                }
            }
            defer { stop.value = true }
            try Exchange.run(&flows)
            stop.value = true
            try toggler.join("the toggling thread")
        }
    }

    @Test("a second pause or resume has no effect", arguments: Setup.receiving)
    func pauseAndResumeTwiceAreHarmless(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            connection.resumeReading()
            connection.pauseReading()
            connection.pauseReading()
            connection.resumeReading()
            connection.resumeReading()
            return try TestHandler.echo(connection)
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            for _ in 0..<50 { #expect(try client.roundTrip("again")) }
        }
    }

    @Test("a paused connection can write and close", arguments: Setup.receiving)
    func aPausedConnectionCanWriteAndClose(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            connection.pauseReading()
            connection.write("paused")
            connection.schedule(after: .milliseconds(20)) { connection in
                connection.write(", closed")
                connection.close()
            }
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("x")
            #expect(try client.receiveText(exactly: 6) == "paused")
            try client.send("never read")
            #expect(try client.receiveTextUntilEnd() == (", closed", .clean))
        }
    }
}
