/// Tests of a peer that ended its side. With `allowHalfClosure` the handler decides when our side
/// ends. Without it our side ends after all written bytes are sent.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct HalfCloseTests {
    @Test(
        "a client that has shut down its sending side receives a late reply",
        arguments: Setup.receiving)
    func aReplyThatComesLateStillArrives(_ setup: Setup) throws {
        let handler = TestHandler(
            traffic: TestHandler.ignore,
            halfClose: { connection in
                connection.schedule(after: .milliseconds(100)) { connection in
                    connection.write(connection.next())
                    connection.write(", late")
                    connection.close()
                }
                return .none
            })
        let options = setup.options { $0.allowHalfClosure = true }
        try withServer(setup, handler, options: options) { server in
            let client = try server.connect()
            try client.send("request")
            client.shutdownWrite()
            #expect(try client.receiveTextUntilEnd() == ("request, late", .clean))
        }
        #expect(handler.log.count(.halfClose) == 1)
        #expect(handler.log.reasons == ["local"])
    }

    @Test(
        "with half-closure allowed, the connection stays open until the handler closes it",
        arguments: Setup.receiving)
    func withHalfClosureNothingClosesByItself(_ setup: Setup) throws {
        let options = setup.options { $0.allowHalfClosure = true }
        let handler = TestHandler()
        try withServer(setup, handler, options: options) { server in
            let client = try server.connect()
            try client.send("x")
            client.shutdownWrite()
            #expect(try client.receiveText(exactly: 1) == "x")
            try handler.log.waitFor(.halfClose)
            #expect(try client.staysSilent(for: .milliseconds(150)))
            #expect(handler.log.count(.close) == 0)
            #expect(Probe.processorShare(over: .milliseconds(300)) < 0.05 || Probe.isSanitized)
        }
    }

    @Test("a connection closes when both sides have ended", arguments: Setup.receiving)
    func endingBothSidesClosesTheConnection(_ setup: Setup) throws {
        let handler = TestHandler(halfClose: { connection in
            connection.write("our end")
            connection.shutdownWrite()
            return .none
        })
        let options = setup.options { $0.allowHalfClosure = true }
        try withServer(setup, handler, options: options) { server in
            let client = try server.connect()
            client.shutdownWrite()
            #expect(try client.receiveTextUntilEnd() == ("our end", .clean))
            try handler.log.waitFor(.close)
            try server.waitUntilEmpty()
        }
        #expect(handler.log.reasons == ["peer"])
    }

    @Test(
        "without half-closure, the bytes already written are sent before the close",
        arguments: Setup.receiving)
    func withoutHalfClosureWhatWasWrittenGoesOutFirst(_ setup: Setup) throws {
        let pattern = Pattern(stream: 3)
        let size = 8 << 20
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            connection.write(pattern.bytes(size))
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("x")
            client.shutdownWrite()
            #expect(try client.receiveUntilEnd(pattern) == (size, .clean))
        }
        #expect(handler.log.reasons == ["peer"])
        #expect(handler.log.count(.halfClose) == 0)
    }

    @Test("an end of stream without bytes closes the connection", arguments: Setup.receiving)
    func anEndWithoutBytesClosesTheConnection(_ setup: Setup) throws {
        let handler = TestHandler()
        try withServer(setup, handler) { server in
            let client = try server.connect()
            client.shutdownWrite()
            #expect(try client.receiveEnd() == .clean)
            try handler.log.waitFor(.close)
        }
        #expect(handler.log.reasons == ["peer"])
        #expect(handler.log.count(.traffic) == 0)
    }

    @Test("every byte before the end is delivered before onHalfClose", arguments: Setup.receiving)
    func everyByteBeforeTheEndIsToldBeforeTheEnd(_ setup: Setup) throws {
        let count = Shared(0)
        let atEnd = Shared(-1)
        let handler = TestHandler(
            traffic: { connection in
                let some = connection.discardAll()
                count.update { $0 += some }
                return .none
            },
            halfClose: { _ in
                atEnd.value = count.value
                return .close
            })
        let options = setup.options { $0.allowHalfClosure = true }
        try withServer(setup, handler, options: options) { server in
            let client = try server.connect()
            try client.send(Pattern(stream: 1).bytes(3_000_000))
            client.shutdownWrite()
            #expect(try client.receiveEnd() == .clean)
        }
        #expect(atEnd.value == 3_000_000)
    }

    @Test("a reset by the peer is reported as the reason of the close", arguments: Setup.receiving)
    func aResetIsTheReasonOfTheClose(_ setup: Setup) throws {
        let handler = TestHandler()
        try withServer(setup, handler) { server in
            let client = try server.connect()
            #expect(try client.roundTrip("x"))
            client.reset()
            try handler.log.waitFor(.close)
        }
        #expect(handler.log.reasons == ["reset"])
    }
}
