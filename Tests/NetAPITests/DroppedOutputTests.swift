/// Tests of an abort: it drops all output that was gathered and not sent, also by the calling
/// callback. No part of it may arrive before the reset.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct DroppedOutputTests {
    /// Short pieces: long ones are sent at once.
    static let sizes = [1, 10_000]

    private func expectNothing(_ client: TestClient) throws {
        let (bytes, end) = try client.receiveUntilEnd()
        #expect(bytes.count == 0)
        #expect(end.isReset)
    }

    @Test(
        "abort drops the output that the same callback has written",
        arguments: Setup.receiving, sizes)
    func whatTheCallbackHasWrittenIsDropped(_ setup: Setup, _ size: Int) throws {
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            for _ in 0..<3 { connection.write([UInt8](repeating: 1, count: size)) }
            connection.abort()
            connection.write("after")
            connection.flush()
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("x")
            try expectNothing(client)
        }
        #expect(handler.log.reasons == ["local"])
    }

    @Test("abort drops the output that onOpen has written", arguments: Setup.receiving)
    func soIsWhatOnOpenHasWritten(_ setup: Setup) throws {
        // A reset before the client's connect has returned would make the connect fail.
        let gate = Gate()
        let handler = TestHandler(open: { connection in
            gate.wait()
            connection.write("never")
            connection.abort()
            return .none
        })
        try withServer(setup, handler) { server in
            defer { gate.open() }
            let client = try server.connect()
            gate.open()
            try expectNothing(client)
        }
        #expect(handler.log.count(.traffic) == 0)
    }

    @Test("abort after close drops the output that close has not sent", arguments: Setup.receiving)
    func soIsWhatWasClosedWithIt(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            connection.write("never")
            connection.close()
            connection.abort()
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("x")
            try expectNothing(client)
        }
    }

    /// Posted, and so outside the connection's callbacks.
    @Test(
        "abort drops the output that a closure outside the callbacks has written",
        arguments: Setup.receiving, sizes)
    func soIsWhatAClosureFromOutsideHasWritten(_ setup: Setup, _ size: Int) throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = TestHandler(open: { connection in
            let handle = connection.handle
            handles.update { $0.append(handle) }
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try handler.log.waitFor(.open)
            try eventually("the handle") { !handles.value.isEmpty }
            handles.value[0].execute { connection in
                connection.write([UInt8](repeating: 1, count: size))
                connection.abort()
            }
            try expectNothing(client)
        }
        #expect(handler.log.reasons == ["local"])
    }

    @Test("abort drops the output that preWrite has written", arguments: Setup.receiving, sizes)
    func soIsWhatTheLastCallbackBeforeAWriteIsAskedAbout(_ setup: Setup, _ size: Int) throws {
        let handler = PreWriteTests.Handler(
            traffic: TestHandler.echo,
            before: { connection in
                connection.write([UInt8](repeating: 1, count: size))
                connection.abort()
                return .none
            })
        try serve(try Server(handler, listen: anyPort, options: setup.options())) { server in
            let client = try server.connect()
            try client.send("hello")
            try expectNothing(client)
        }
        #expect(handler.log.reasons == ["local"])
    }

    /// With a `preWrite`, which is not called for a dropped write.
    @Test("preWrite is not called for a write that is dropped", arguments: Setup.receiving)
    func nobodyIsAskedBeforeAWriteThatIsDropped(_ setup: Setup) throws {
        let handler = PreWriteTests.Handler(
            traffic: { connection in
                connection.discardAll()
                connection.write("never")
                connection.abort()
                return .none
            },
            before: { connection in
                connection.write("either")
                return .none
            })
        try serve(try Server(handler, listen: anyPort, options: setup.options())) { server in
            let client = try server.connect()
            try client.send("hello")
            try expectNothing(client)
        }
        #expect(handler.log.count(.preWrite) == 0)
    }

    @Test("no byte of a callback that passes the outbound cap is sent", arguments: Setup.receiving)
    func nothingOfACallbackThatPassesTheOutboundCapGoesOut(_ setup: Setup) throws {
        let options = setup.options {
            $0.limits.outboundBytes = 10_000
            $0.limits.outboundHighMark = 4_000
            $0.limits.outboundLowMark = 1_000
        }
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            connection.write([UInt8](repeating: 1, count: 6_000))
            #expect(connection.isOpen)
            connection.write([UInt8](repeating: 2, count: 6_000))
            #expect(!connection.isOpen)
            connection.write([UInt8](repeating: 3, count: 100))
            return .none
        })
        try withServer(setup, handler, options: options) { server in
            let client = try server.connect()
            try client.send("x")
            try expectNothing(client)
            try handler.log.waitFor(.close)
            #expect(server.server.statistics.overflowCloses == 1)
        }
        #expect(handler.log.reasons == ["outboundOverflow"])
    }
}
