/// Tests of errors that callbacks throw: each ends the object that the callback was called for, and
/// no other.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ThrowingTests {
    @Test(
        "an error thrown in a callback closes the connection and is the reason in onClose",
        arguments: Setup.all, ActionTests.Place.allCases)
    func anErrorClosesTheConnectionWithItAsReason(
        _ setup: Setup, _ place: ActionTests.Place
    ) throws {
        let seen = Shared<[Mishap?]>([])
        var handler = place.handler { connection in
            connection.write("written before")
            throw Mishap(text: place.rawValue)
        }
        handler.close = { _, reason in
            let error = reason.handlerError as? Mishap
            seen.update { $0.append(error) }
            return .none
        }
        try withServer(setup, handler, options: place.options(setup)) { server in
            for _ in 0..<2 {
                let client = try server.connect()
                try place.provoke(client)
                _ = try client.receive(exactly: place.prefix)
                #expect(try client.receiveTextUntilEnd() == ("written before", .clean))
            }
            try handler.log.waitFor(.close, count: 2)
        }
        #expect(handler.log.reasons == ["handlerError", "handlerError"])
        #expect(seen.value == [Mishap(text: place.rawValue), Mishap(text: place.rawValue)])
    }

    @Test(
        "an uncaught error of the reading API closes the connection and is the reason in onClose",
        arguments: Setup.all)
    func anUncaughtErrorOfTheReadingAPIIsTheReason(_ setup: Setup) throws {
        let codes = Shared<[NetError.Code?]>([])
        let handler = TestHandler(
            traffic: { connection in
                while try connection.nextLine(limit: 10) != nil { connection.write("line\n") }
                return .none
            },
            close: { _, reason in
                let code = (reason.handlerError as? NetError)?.code
                codes.update { $0.append(code) }
                return .none
            })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("short\nthis one is far too long")
            #expect(try client.receiveTextUntilEnd() == ("line\n", .clean))
            client.close()
            try handler.log.waitFor(.close)
        }
        #expect(codes.value == [.frameTooLong])
    }

    @Test("an error from onBoot fails the start and leaves no address bound", arguments: Setup.all)
    func anErrorFromOnBootFailsTheStartAndLeavesNothingBound(_ setup: Setup) throws {
        let before = Probe.descriptors
        let free = try freePort()
        let address = Address.tcp("127.0.0.1", port: free)
        let path = TemporaryPath.make()
        let handler = TestHandler(boot: { _ in throw Mishap(text: "the disk is full") })
        let server = try Server(
            handler, listen: address, .unix(path), options: setup.options())
        let error = try server.startError()
        #expect(error != nil)
        #expect(error.map { "\($0)".contains("the disk is full") } == true, "\(error as Any)")
        #expect(throws: (any Error).self) { try TestClient(to: address) }
        #expect(!TemporaryPath.exists(path))
        #expect(handler.log.callbacks.allSatisfy { $0 == .boot })
        try eventually("no descriptor left") { Probe.descriptors <= before }
        let second = try Server(TestHandler(), listen: address, options: setup.options())
        try serve(second) { server in
            let client = try server.connect()
            #expect(try client.roundTrip("free again"))
        }
    }

    private func freePort() throws -> UInt16 {
        let server = try Server(TestHandler(), listen: "tcp://127.0.0.1:0")
        return try serve(server) { try #require($0.addresses[0].port) }
    }

    @Test("an error from onTick stops the server, and run reports it", arguments: Setup.all)
    func anErrorFromOnTickStopsTheServerWithIt(_ setup: Setup) throws {
        let handler = TestHandler(tick: { _ in throw Mishap(text: "clockwork") })
        let server = try Server(handler, listen: anyPort, options: setup.options())
        let text = try bounded("Server.run") {
            let reason = try server.run()
            guard case .failed(let error) = reason else { return reason.name }
            return "failed: \(error)"
        }
        #expect(text.hasPrefix("failed: ") && text.contains("clockwork"), "\(text)")
        handler.log.checkLives()
    }

    @Test(
        "an error in a connection's timer or posted closure closes the connection",
        arguments: Setup.all)
    func anErrorInAClosureOfAConnectionClosesIt(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            connection.write("written before")
            if connection.next().equals("timer") {
                connection.schedule(after: .milliseconds(5)) { _ in throw Mishap() }
            } else {
                connection.handle.execute { _ in throw Mishap() }
            }
            return .none
        })
        try withServer(setup, handler) { server in
            for kind in ["timer", "execute"] {
                let client = try server.connect()
                try client.send(kind)
                #expect(try client.receiveTextUntilEnd() == ("written before", .clean))
            }
            let other = try server.connect()
            try other.send("still served")
            #expect(try other.receiveText(exactly: 14) == "written before")
        }
        #expect(handler.log.reasons.prefix(2) == ["handlerError", "handlerError"])
    }
}
