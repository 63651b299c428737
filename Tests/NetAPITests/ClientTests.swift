/// Tests of outgoing connects: from a client, from inside a server, over every transport, and
/// failing.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ClientTests {
    static let transports: [Address] = ["tcp://127.0.0.1:0", "tcp://[::1]:0", "unix://@"]

    @Test("a client sends one MiB and receives it back unchanged", arguments: Setup.all, transports)
    func aMebibyteGoesThereAndBack(_ setup: Setup, _ transport: Address) throws {
        try withServer(setup, listen: [Self.place(transport)]) { server in
            let got = Shared(0)
            let done = Shared(false)
            var handler = TestHandler()
            handler.open = { connection in
                #expect(!connection.isAccepted)
                connection.write(Pattern(stream: 3).bytes(1 << 20))
                return .none
            }
            handler.traffic = { connection in
                let bytes = connection.readArray()
                let before = got.update { got in
                    defer { got += bytes.count }
                    return got
                }
                try Pattern(stream: 3).verify(bytes, at: before)
                return before + bytes.count == 1 << 20 ? .close : .none
            }
            handler.close = { _, reason in
                if case .local = reason { done.value = true }
                return .none
            }
            let client = try Client(handler, options: setup.options())
            try client.start()
            client.connect(to: server.addresses[0]) { result in
                #expect(throws: Never.self) { _ = try result.get() }
            }
            try eventually("all came back") { done.value }
            try bounded("stop") { client.stop() }
            #expect(client.connectionCount == 0)
        }
    }

    @Test(
        "output of onOpen is sent first, and an early end loses no bytes",
        arguments: Setup.all, transports)
    func aGreetingIsSeenFirstAndAnEarlyEndLosesNothing(
        _ setup: Setup, _ transport: Address
    ) throws {
        let greeting = "this was written by onOpen"
        let first = Shared("")
        var serving = TestHandler()
        serving.traffic = { connection in
            guard connection.buffered >= greeting.utf8.count else { return .none }
            first.value = String(decoding: connection.next())
            connection.write("bye!")
            return .close
        }
        try withServer(setup, serving, listen: [Self.place(transport)]) { server in
            let order = Shared<[String]>([])
            var handler = TestHandler()
            handler.open = { connection in
                connection.write(greeting)
                return .none
            }
            handler.traffic = { connection in
                guard connection.buffered == 4 else { return .none }
                let piece = String(decoding: connection.next())
                order.update { $0.append(piece) }
                return .none
            }
            handler.close = { _, why in
                order.update { $0.append("\(why)") }
                return .none
            }
            let client = try Client(handler, options: setup.options())
            try client.start()
            client.connect(to: server.addresses[0]) { result in
                guard let handle = try? result.get().handle else { return }
                // Posted before onOpen ran, but handled after it.
                handle.write("; this by its handle")
            }
            try eventually("it ended") { order.value.count == 2 }
            #expect(order.value == ["bye!", "peer"])
            #expect(first.value.hasPrefix(greeting), "\(first.value)")
            try bounded("stop") { client.stop() }
        }
    }

    @Test("a refused connect throws an error that contains the address", arguments: Setup.single)
    func nobodyThereIsSaidWithTheAddress(_ setup: Setup) async throws {
        let client = try Client(TestHandler(), options: setup.options())
        try client.start()
        let error = await #expect(throws: NetError.self) {
            _ = try await client.connect(to: "tcp://127.0.0.1:1")
        }
        #expect(error?.description.contains("tcp://127.0.0.1:1") == true)
        #expect(error?.errno == ECONNREFUSED)
        let wrong = await #expect(throws: NetError.self) {
            _ = try await client.connect(to: "howdy")
        }
        #expect(wrong?.code == .invalidAddress)
        await client.stop()
        let late = await #expect(throws: NetError.self) {
            _ = try await client.connect(to: "tcp://127.0.0.1:1")
        }
        #expect(late?.code == .closed)
    }

    /// A full backlog of a Unix socket is neither a success nor a failure before the time-out.
    @Test(
        "a connect to a full backlog waits until it succeeds or times out",
        arguments: Setup.single)
    func aFullBacklogMakesItWaitAndNeverLies(_ setup: Setup) throws {
        let client = try Client(TestHandler(), options: setup.options())
        try client.start()
        defer { client.stop(within: .seconds(1)) }
        try keepingPace(of: .milliseconds(300)) { pace in
            let listener = try RawListener(at: anyName(), backlog: 1)
            var accepted: [TestClient?] = []
            let outcomes = Shared<[String]>([])
            for _ in 0..<20 {
                client.connect(to: listener.address, timeout: .milliseconds(400)) { result in
                    switch result {
                    case .success: outcomes.update { $0.append("connected") }
                    case .failure(let error): outcomes.update { $0.append("\(error.code)") }
                    }
                }
            }
            for _ in 0..<6 {
                pause(.milliseconds(20))
                accepted.append(try? listener.accept())
                try must(accepted.last! != nil, "no connection waits any more")
            }
            // All of it, well within the time-out.
            pace.mark()
            try eventually("each has an outcome") { outcomes.value.count == 20 }
            pace.rest()
            withExtendedLifetime((listener, accepted)) {}
            let all = outcomes.value
            let connected = all.count { $0 == "connected" }
            try must(connected >= 6 && connected <= 9, "\(all)")
            #expect(all.count { $0 == "timedOut" } == 20 - connected, "\(all)")
        }
        try bounded("stop") { client.stop() }
    }

    @Test("a proxy forwards in both directions on one loop", arguments: Setup.all)
    func aProxyForwardsBothWaysOnOneLoop(_ setup: Setup) throws {
        try withServer(setup) { backend in
            var handler = TestHandler()
            let other = PerConnection<Connection?>(nil)
            let target = backend.addresses[0]
            handler.open = { connection in
                guard connection.isAccepted else { return .none }
                connection.pauseReading()
                connection.connect(to: target) { front, back in
                    #expect(front.loop.index == back.loop.index)
                    front[other] = back
                    back[other] = front
                    front.resumeReading()
                }
                return .none
            }
            handler.traffic = { connection in
                connection[other]?.write(connection.next())
                return .none
            }
            handler.close = { connection, _ in
                connection[other]?.close()
                return .none
            }
            try withServer(setup, handler) { proxy in
                for index in 0..<10 {
                    let client = try proxy.connect()
                    #expect(try client.roundTrip("through \(index)"))
                    client.close()
                }
                try proxy.waitUntilEmpty()
            }
        }
    }

    @Test("a failed connect closes the connection that requested it", arguments: Setup.single)
    func aFailureClosesTheOneWhoAsked(_ setup: Setup) throws {
        let reason = Shared("")
        var handler = TestHandler()
        handler.open = { connection in
            connection.connect(to: "tcp://127.0.0.1:1") { _, _ in }
            return .none
        }
        handler.close = { _, why in
            reason.value = "\(why)"
            return .none
        }
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try eventually("it is closed") { reason.value.contains("handlerError") }
            client.close()
        }
    }

    @Test("a connection to a UDP server sends each flush as one datagram", arguments: Setup.all)
    func aConnectedDatagramSocketIsAConnection(_ setup: Setup) throws {
        try withDatagramServer(setup) { server in
            let seen = Shared<[String]>([])
            var handler = TestHandler()
            handler.open = { connection in
                // Each flush is a datagram, also while an earlier one is in flight.
                for word in ["one", "two", "three", "four"] {
                    connection.write(word)
                    connection.flush()
                }
                connection.write("fi")
                connection.write("ve")
                return .none
            }
            handler.traffic = { connection in
                let text = String(decoding: connection.next())
                seen.update { $0.append(text) }
                if seen.value.count == 5 { return .close }
                return .none
            }
            let client = try Client(handler, options: setup.options())
            try client.start()
            client.connect(to: server.boundAddresses[0]) { _ in }
            try eventually("all came back") { seen.value.count == 5 }
            #expect(seen.value.sorted() == ["five", "four", "one", "three", "two"])
            try eventually("it closed") { client.connectionCount == 0 }
            try bounded("stop") { client.stop() }
        }
    }

    private static func place(_ transport: Address) -> Address {
        transport.description.hasPrefix("unix") ? anyName() : transport
    }
}
