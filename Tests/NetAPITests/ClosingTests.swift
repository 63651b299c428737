/// Tests of closing: written bytes are not lost, and peers that do not end are closed in time.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ClosingTests {
    /// A close with unread input makes the kernel reset the stream and drop the output that it had
    /// accepted.
    @Test(
        "a reply of 4 MB before a close arrives whole when input is unread",
        arguments: Setup.all, [1, 1_000_000])
    func aReplyOfFourMBBeforeACloseArrivesWholeBehindUnreadInput(
        _ setup: Setup, unread: Int
    ) throws {
        let pattern = Pattern(stream: 4)
        let size = 4_000_000
        let handler = TestHandler(traffic: { connection in
            guard connection.buffered >= unread else { return .none }
            connection.write(pattern.bytes(size))
            return .close
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            let sender = Worker { try client.send(Pattern(stream: 5).bytes(1_000_000)) }
            let (count, end) = try client.receiveUntilEnd(pattern)
            #expect(count == size)
            #expect(end == .clean)
            try sender.join("sending 1 MB")
        }
        #expect(handler.log.reasons == ["local"])
    }

    @Test("64 MiB written before a close arrive whole", arguments: Setup.all)
    func sixtyFourMiBAndACloseArriveWhole(_ setup: Setup) throws {
        let pattern = Pattern(stream: 64)
        let size = 64 << 20
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            connection.write(pattern.bytes(size))
            return .close
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("x")
            let (count, end) = try client.receiveUntilEnd(pattern)
            #expect(count == size)
            #expect(end == .clean)
        }
        #expect(handler.log.reasons == ["local"])
    }

    @Test("8 MiB written by onOpen arrive whole and before later output", arguments: Setup.all)
    func eightMiBFromOnOpenArriveWholeAndFirst(_ setup: Setup) throws {
        let pattern = Pattern(stream: 8)
        let size = 8 << 20
        let handler = TestHandler(open: { connection in
            connection.write(pattern.bytes(size))
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("echo me")
            try client.receive(pattern, exactly: size)
            #expect(try client.receiveText(exactly: 7) == "echo me")
        }
    }

    @Test("four bytes and a close from onOpen arrive at the client", arguments: Setup.all)
    func fourBytesAndACloseFromOnOpenArrive(_ setup: Setup) throws {
        let handler = TestHandler(open: { connection in
            connection.write("busy")
            return .close
        })
        try withServer(setup, handler) { server in
            for _ in 0..<100 {
                let client = try server.connect()
                #expect(try client.receiveTextUntilEnd() == ("busy", .clean))
            }
        }
        #expect(handler.log.count(.traffic) == 0)
    }

    @Test("no bytes are written and onTraffic is not called after close", arguments: Setup.all)
    func nothingIsWrittenOrToldAfterClose(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            connection.write("before")
            connection.close()
            connection.write("after")
            connection.handle.write("behind")
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("x")
            #expect(try client.receiveTextUntilEnd() == ("before", .clean))
        }
        #expect(handler.log.count(.traffic) == 1)
    }

    @Test("the peer of an aborted connection receives a reset", arguments: Setup.all)
    func abortIsSeenAsAReset(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            connection.abort()
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("x")
            #expect(try client.receiveUntilEnd().end == .reset(ECONNRESET))
        }
        #expect(handler.log.reasons == ["local"])
    }

    @Test("an abort drops unsent output and ends with a reset", arguments: Setup.all)
    func anAbortDropsWhatIsUnsentAndDoesNotLookComplete(_ setup: Setup) throws {
        let size = 32 << 20
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            connection.write([UInt8](repeating: 1, count: size))
            connection.schedule(after: .milliseconds(50)) { $0.abort() }
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect(receiveBuffer: 4096)
            try client.send("x")
            try handler.log.waitFor(.close)
            let (bytes, end) = try client.receiveUntilEnd()
            #expect(bytes.count < size)
            #expect(end.isReset)
        }
    }

    @Test("an abort after a close resets the connection", arguments: Setup.all)
    func anAbortAfterACloseIsAnAbort(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            connection.write([UInt8](repeating: 1, count: 32 << 20))
            connection.close()
            connection.abort()
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect(receiveBuffer: 4096)
            try client.send("x")
            try handler.log.waitFor(.close)
            #expect(try client.receiveUntilEnd().end.isReset)
        }
    }

    @Test("a peer that continues to send after a close receives an error", arguments: Setup.all)
    func aPeerThatNeverStopsSendingIsCutOff(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            connection.write("enough")
            return .close
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            let noise = [UInt8](repeating: 0, count: 65_536)
            let deadline = Deadline()
            #expect(throws: SystemFailure.self) {
                while true {
                    try deadline.check("an error from send")
                    try client.send(noise)
                }
            }
            try server.waitUntilEmpty()
        }
    }

    @Test(
        "a connection to a peer that never closes ends after the linger timeout",
        arguments: Setup.all)
    func aPeerThatNeverEndsIsLetGo(_ setup: Setup) throws {
        let options = setup.options { $0.timeouts.linger = .milliseconds(200) }
        let handler = TestHandler(open: { connection in
            connection.write("bye")
            return .close
        })
        try withServer(setup, handler, options: options) { server in
            let client = try server.connect()
            #expect(try client.receiveTextUntilEnd() == ("bye", .clean))
            try server.waitUntilEmpty()
        }
    }

    @Test(
        "shutdownWrite ends the output after the written bytes and still reads input",
        arguments: Setup.all)
    func shutdownWriteEndsOneSideAfterWhatWasWritten(_ setup: Setup) throws {
        let taken = Shared<[UInt8]>([])
        let handler = TestHandler(traffic: { connection in
            let bytes = connection.readArray()
            taken.update { $0 += bytes }
            connection.write("that was all")
            connection.shutdownWrite()
            connection.write("not this")
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("one")
            #expect(try client.receiveTextUntilEnd() == ("that was all", .clean))
            #expect(handler.log.count(.close) == 0)
            try client.send("two")
            try eventually("the peer's bytes after our end") {
                taken.value == Array("onetwo".utf8)
            }
            client.shutdownWrite()
            try handler.log.waitFor(.close)
        }
        #expect(handler.log.reasons == ["peer"])
    }

    @Test("shutdownWrite and a later close deliver 8 MiB of queued output", arguments: Setup.all)
    func shutdownWriteWithMuchQueuedThenCloseCompletes(_ setup: Setup) throws {
        let pattern = Pattern(stream: 13)
        let size = 8 << 20
        let isClosed = Shared(false)
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            connection.write(pattern.bytes(size))
            connection.shutdownWrite()
            connection.schedule(after: .milliseconds(50)) { connection in
                connection.close()
                isClosed.value = true
            }
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect(receiveBuffer: 4096)
            try client.send("x")
            try eventually("the close") { isClosed.value }
            #expect(try client.receiveUntilEnd(pattern) == (size, .clean))
        }
    }
}
