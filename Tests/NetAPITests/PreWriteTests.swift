/// Tests of `preWrite`: it runs just before gathered bytes are sent, may add bytes, and may end the
/// connection.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct PreWriteTests {
    struct Handler: EventHandler, Sendable {
        let log = EventLog()
        var traffic: TestHandler.OnConnection = TestHandler.echo
        var before: TestHandler.OnConnection

        func onTraffic(_ connection: Connection) throws -> Action { try traffic(connection) }

        func preWrite(_ connection: Connection) throws -> Action {
            log.add(.preWrite, connection)
            return try before(connection)
        }

        func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
            log.add(.close, connection, reason: reason)
            return .none
        }
    }

    private func withServer(
        _ setup: Setup, _ handler: Handler, _ body: (TestServer) throws -> Void
    ) throws {
        try serve(try Server(handler, listen: anyPort, options: setup.options()), body)
    }

    @Test("preWrite runs before the bytes are sent and may add bytes", arguments: Setup.all)
    func itRunsBeforeTheBytesGoOutAndMayAdd(_ setup: Setup) throws {
        let waiting = Shared<[Int]>([])
        let handler = Handler(before: { connection in
            let count = connection.outboundBuffered
            waiting.update { $0.append(count) }
            connection.write("!")
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            for _ in 0..<3 {
                try client.send("hello")
                #expect(try client.receiveText(exactly: 6) == "hello!")
            }
        }
        #expect(waiting.value == [5, 5, 5])
        #expect(handler.log.count(.preWrite) == 3)
    }

    @Test(
        "preWrite adds bytes before the end of our side", arguments: Setup.all)
    func beforeTheEnd(_ setup: Setup) throws {
        var handler = Handler(before: { connection in
            connection.write("trailer")
            return .none
        })
        handler.traffic = { connection in
            connection.write(connection.next())
            connection.shutdownWrite()
            return .none
        }
        let options = setup.options { $0.allowHalfClosure = true }
        try serve(try Server(handler, listen: anyPort, options: options)) { server in
            let client = try server.connect()
            try client.send("body ")
            #expect(try client.receiveTextUntilEnd().text == "body trailer")
        }
    }

    @Test("preWrite runs for each flush", arguments: Setup.all)
    func itRunsForEachFlush(_ setup: Setup) throws {
        var handler = Handler(before: { connection in
            connection.write("|")
            return .none
        })
        handler.traffic = { connection in
            connection.discardAll()
            for word in ["one", "two", "three"] {
                connection.write(word)
                connection.flush()
            }
            connection.write("four")
            return .none
        }
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("x")
            #expect(try client.receiveText(exactly: 19) == "one|two|three|four|")
        }
        #expect(handler.log.count(.preWrite) == 4)
    }

    @Test("preWrite does not run when there are no bytes to write", arguments: Setup.all)
    func itDoesNotRunWhenThereIsNothingToWrite(_ setup: Setup) throws {
        var handler = Handler(before: { connection in
            connection.write("from nothing")
            return .none
        })
        handler.traffic = { connection in
            connection.discardAll()
            connection.flush()
            return .none
        }
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("x")
            #expect(try client.staysSilent(for: .milliseconds(100)))
        }
        #expect(handler.log.count(.preWrite) == 0)
    }

    @Test("preWrite may add to the last bytes before a close", arguments: Setup.all)
    func itMayAddToTheLastBytesBeforeAClose(_ setup: Setup) throws {
        var handler = Handler(before: { connection in
            connection.write(", signed")
            return .none
        })
        handler.traffic = { connection in
            connection.discardAll()
            connection.write("bye")
            return .close
        }
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("x")
            #expect(try client.receiveTextUntilEnd() == ("bye, signed", .clean))
        }
    }

    @Test("preWrite runs for bytes that other threads write", arguments: Setup.all)
    func whatOtherThreadsWritePassesItToo(_ setup: Setup) throws {
        let handles = Shared<[ConnectionHandle]>([])
        var handler = Handler(before: { connection in
            connection.write("!")
            return .none
        })
        handler.traffic = { connection in
            connection.discardAll()
            handles.update { [handle = connection.handle] in $0.append(handle) }
            return .none
        }
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("x")
            try eventually("the handle") { !handles.value.isEmpty }
            handles.value[0].write("hello")
            #expect(try client.receiveText(exactly: 6) == "hello!")
        }
    }

    @Test("a close returned by preWrite sends the written bytes first", arguments: Setup.all)
    func closeFromItSendsWhatWasWritten(_ setup: Setup) throws {
        let handler = Handler(before: { connection in
            connection.write(", the end")
            return .close
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("hello")
            #expect(try client.receiveTextUntilEnd() == ("hello, the end", .clean))
        }
        #expect(handler.log.reasons == ["local"])
    }

    @Test(
        "a shutdown returned by preWrite sends the written bytes and stops the server",
        arguments: Setup.all)
    func shutdownFromItSendsWhatWasWrittenAndStopsTheServer(_ setup: Setup) throws {
        let handler = Handler(before: { _ in .shutdown })
        let server = try Server(handler, listen: anyPort, options: setup.options())
        try bounded("Server.start") { try server.start() }
        let running = Worker { try server.run().name }
        let client = try TestClient(to: server.boundAddresses[0])
        try client.send("hello")
        #expect(try client.receiveTextUntilEnd() == ("hello", .clean))
        client.close()
        #expect(try running.join("Server.run") == "shutdownAction")
    }

    @Test(
        "an error thrown by preWrite is the close reason, and the written bytes arrive",
        arguments: Setup.all)
    func anErrorFromItIsTheReasonAndWhatWasWrittenArrives(_ setup: Setup) throws {
        let handler = Handler(before: { _ in throw Mishap() })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("hello")
            #expect(try client.receiveTextUntilEnd() == ("hello", .clean))
        }
        #expect(handler.log.reasons == ["handlerError"])
    }

    @Test("borrowed bytes stay valid when preWrite discards input", arguments: Setup.all)
    func lentBytesSurviveAPreWriteThatTakesInput(_ setup: Setup) throws {
        let same = Shared(false)
        var handler = Handler(before: { connection in
            connection.discardAll()
            return .none
        })
        handler.traffic = { connection in
            guard connection.buffered == 3000 else { return .none }
            let lent = connection.bytes
            let copy = [UInt8](copying: lent)
            connection.write("x")
            connection.flush()
            let filler = (0..<64).map { [UInt8](repeating: 0xEE, count: $0 * 100) }
            same.value = [UInt8](copying: lent) == copy && filler.count == 64
            return .none
        }
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send(Pattern(stream: 1).bytes(1500))
            pause(.milliseconds(20))
            try client.send(Pattern(stream: 1).bytes(1500))
            #expect(try client.receiveText(exactly: 1) == "x")
        }
        #expect(same.value)
    }
}
