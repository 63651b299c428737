/// Tests of a connected datagram socket: datagram boundaries, empty datagrams, addresses.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ConnectedDatagramTests {
    /// Runs `body` with an open connection of a client to `server`.
    private func connect(
        _ setup: Setup, to server: Server, _ handler: TestHandler = TestHandler(),
        _ body: (ConnectionHandle) throws -> Void
    ) throws {
        let client = try Client(handler, options: setup.options())
        try client.start()
        let handle = Shared<ConnectionHandle?>(nil)
        client.connect(to: server.boundAddresses[0]) { handle.value = try? $0.get().handle }
        try eventually("it is connected") { handle.value != nil }
        let result = Result { try body(try #require(handle.value)) }
        try bounded("stop") { client.stop() }
        try result.get()
    }

    private func collect(in seen: Shared<[[UInt8]]>) -> DatagramTestHandler {
        DatagramTestHandler { datagram in
            seen.update { [bytes = Array(copying: datagram.bytes)] in $0.append(bytes) }
            return .none
        }
    }

    /// Posted together, so that the loop handles them in one turn. No more bytes than a socket's
    /// buffer holds without a reader.
    @Test("each write or execute call of a handle sends one datagram", arguments: Setup.all)
    func eachCallOfAHandleIsADatagram(_ setup: Setup) throws {
        let (seen, gate, sent) = (Shared<[[UInt8]]>([]), Gate(), Shared(0))
        try withDatagramServer(setup, collect(in: seen)) { server in
            defer { gate.open() }
            try connect(setup, to: server) { handle in
                handle.execute { _ in gate.wait() }
                let all = (0..<200).map { Array("\($0), 10 bytes".utf8.prefix(10)) }
                for (number, bytes) in all.enumerated() {
                    switch number % 4 {
                    case 0: handle.write(bytes)
                    case 1: handle.write([Array(bytes[..<3]), [], Array(bytes[3...])])
                    case 2:
                        handle.execute { connection in
                            connection.write(bytes[..<4])
                            connection.write(bytes[4...])
                        }
                    default: handle.write(bytes) { _ in sent.update { $0 += 1 } }
                    }
                }
                gate.open()
                try eventually("all came") { seen.value.count >= 200 }
                #expect(seen.value == all)
                try eventually("all are told") { sent.value == 50 }
            }
        }
    }

    @Test(
        "an empty write sends an empty datagram unless it joins other output",
        arguments: Setup.all)
    func emptyWritesAreDatagramsWhenNothingJoinsThem(_ setup: Setup) throws {
        let (seen, sent) = (Shared<[[UInt8]]>([]), Shared(0))
        try withDatagramServer(setup, collect(in: seen)) { server in
            try connect(setup, to: server) { handle in
                handle.write([UInt8]())
                handle.write("") { _ in sent.update { $0 += 1 } }
                handle.write([[UInt8]]())
                handle.write([[], []])
                handle.execute { $0.write([UInt8]()) }
                handle.execute { connection in
                    connection.write([UInt8]())
                    connection.write("joined")
                    connection.write("")
                }
                // While an earlier datagram is in flight.
                handle.execute { connection in
                    for text in ["a", "", "", "b"] {
                        connection.write(text)
                        connection.flush()
                    }
                }
                handle.execute { connection in
                    connection.flush()
                    connection.write(reserving: 0) { _ in }
                    connection.write(reserving: 100) { _ in }
                }
                handle.write("end")
                let wanted = ["", "", "", "", "", "joined", "a", "", "", "b", "end"]
                try eventually("all came") { seen.value.count >= wanted.count }
                #expect(seen.value.map { String(decoding: $0, as: UTF8.self) } == wanted)
                try eventually("it is told once") { sent.value == 1 }
            }
        }
    }

    /// Also when its parts are in separate memory.
    @Test("one flush sends one datagram", arguments: Setup.all)
    func oneFlushIsOneDatagram(_ setup: Setup) throws {
        let seen = Shared<[[UInt8]]>([])
        let whole = Pattern(stream: 4).bytes(60_000)
        try withDatagramServer(setup, collect(in: seen)) { server in
            try connect(setup, to: server) { handle in
                for _ in 0..<3 {
                    handle.execute { connection in
                        connection.write(whole[..<40_000])
                        connection.write(reserving: 30_000) { output in
                            for byte in whole[40_000..<50_000] { output.append(byte) }
                        }
                        connection.write(reserving: 60_000) { _ in }
                        connection.write(whole[50_000...])
                    }
                }
                try eventually("all came") { seen.value.map(\.count).reduce(0, +) >= 180_000 }
                #expect(seen.value.map(\.count) == [60_000, 60_000, 60_000])
                #expect(seen.value.allSatisfy { $0 == whole })
            }
        }
    }

    @Test("a UDP connection reports UDP addresses for both sockets", arguments: Setup.single)
    func addressesAreThoseOfDatagrams(_ setup: Setup) throws {
        try withDatagramServer(setup) { server in
            let addresses = Shared<[Address]>([])
            let handler = TestHandler(open: { connection in
                addresses.value = [connection.remoteAddress, connection.localAddress]
                return .none
            })
            try connect(setup, to: server, handler) { _ in
                try eventually("it is open") { addresses.value.count == 2 }
                #expect(addresses.value[0] == server.boundAddresses[0])
                #expect(addresses.value[1].description.hasPrefix("udp://127.0.0.1:"))
            }
        }
    }

    /// A file's pieces would be datagrams larger than networks carry.
    @Test("sendFile throws EOPNOTSUPP on a datagram connection", arguments: Setup.single)
    func filesAreRefused(_ setup: Setup) throws {
        try withDatagramServer(setup) { server in
            let outcome = Shared<Int32?>(nil)
            try connect(setup, to: server) { handle in
                handle.execute { connection in
                    do throws(NetError) {
                        try connection.sendFile(0, offset: 0, count: 1)
                    } catch {
                        outcome.value = error.errno
                    }
                }
                try eventually("it is refused") { outcome.value == EOPNOTSUPP }
            }
        }
    }

    /// An error for an earlier datagram without a receiver does not cost the next one.
    @Test("an error for an earlier datagram does not drop the next one", arguments: Setup.all)
    func newsOfAnEarlierOneCostsNothing(_ setup: Setup) throws {
        // Reserves a port: no socket receives there until it is bound again.
        let peer = try DatagramPeer(boundTo: "udp://127.0.0.1:0")
        let place = try peer.localAddress
        peer.close()
        let client = try Client(TestHandler(), options: setup.options())
        try client.start()
        let (second, failure) = (Shared<DatagramPeer?>(nil), Shared<String?>(nil))
        client.connect(to: place) { result in
            do {
                let connection = try result.get()
                connection.write("nobody is there")
                connection.flush()
                second.value = try DatagramPeer(boundTo: place)
                connection.write("somebody is there")
                connection.flush()
            } catch {
                failure.value = "\(error)"
            }
        }
        try eventually("both are written") { second.value != nil || failure.value != nil }
        #expect(failure.value == nil)
        let received = try second.value?.receive()
        #expect(received == Array("somebody is there".utf8))
        #expect(client.statistics.datagramDrops == 0)
        try bounded("stop") { client.stop() }
    }

    /// A woken connection has nothing to forward; an empty datagram is forwarded.
    @Test("forward sends an empty datagram and sends nothing for a wake", arguments: Setup.all)
    func forwardingPassesOnWhatThereIs(_ setup: Setup) throws {
        let seen = Shared<[[UInt8]]>([])
        try withDatagramServer(setup) { far in
            try withDatagramServer(setup, collect(in: seen)) { near in
                let (ends, shown) = (Shared<[ConnectionHandle]>([]), Shared(0))
                let other = PerConnection<Connection?>(nil)
                let client = try Client(
                    TestHandler(traffic: { connection in
                        if let other = connection[other] { connection.forward(to: other) }
                        shown.update { $0 += 1 }
                        return .none
                    }), options: setup.options())
                try client.start()
                let (target, place) = (far.boundAddresses[0], near.boundAddresses[0])
                client.connect(to: target) { result in
                    guard let first = try? result.get() else { return }
                    first.loop.connect(to: place) { result in
                        let second = try result.get()
                        first[other] = second
                        ends.value = [first.handle, second.handle]
                    }
                }
                try eventually("both are connected") { ends.value.count == 2 }
                ends.value[0].wake()
                try eventually("it is woken") { shown.value == 1 }
                // The far side echoes these.
                for (count, size) in [0, 5, 0].enumerated() {
                    ends.value[0].write([UInt8](repeating: 1, count: size))
                    try eventually("it came back") { shown.value == count + 2 }
                }
                ends.value[0].wake()
                try eventually("it is woken again") { shown.value == 5 }
                ends.value[1].write("end")
                try eventually("all came") { seen.value.last == Array("end".utf8) }
                #expect(seen.value.map(\.count) == [0, 5, 0, 3])
                try bounded("stop") { client.stop() }
            }
        }
    }

    /// On epoll they are one batch, of which the first pause comes in the middle.
    @Test("a handler that pauses at each datagram gets all of them in order", arguments: Setup.all)
    func noPauseLosesADatagram(_ setup: Setup) throws {
        let all = (0..<40).map { Array("number \($0)".utf8) }
        let answers = DatagramTestHandler { datagram in
            for bytes in all { datagram.reply(bytes) }
            return .none
        }
        try withDatagramServer(setup, answers) { server in
            let seen = Shared<[[UInt8]]>([])
            let handler = TestHandler(traffic: { connection in
                seen.update { [bytes = connection.readArray()] in $0.append(bytes) }
                connection.pauseReading()
                connection.schedule(after: .zero) { $0.resumeReading() }
                return .none
            })
            try connect(setup, to: server, handler) { handle in
                handle.write("all")
                try eventually("all came") { seen.value.count >= all.count }
                #expect(seen.value == all)
            }
        }
    }

    @Test("a pipe forwards empty datagrams and keeps the order", arguments: Setup.all)
    func aPipePassesEmptyOnesOnBothWays(_ setup: Setup) throws {
        let echoed = Shared<[[UInt8]]>([])
        try withDatagramServer(setup) { far in
            let target = far.boundAddresses[0]
            let client = try Client(
                TestHandler(traffic: { connection in
                    echoed.update { $0.append(connection.readArray()) }
                    return .none
                }), options: setup.options())
            try client.start()
            try withDatagramServer(setup, collect(in: echoed)) { near in
                // The far side's echoes go to the near one.
                let ends = Shared<[ConnectionHandle]>([])
                let place = near.boundAddresses[0]
                client.connect(to: target) { result in
                    guard let first = try? result.get() else { return }
                    first.loop.connect(to: place) { result in
                        let second = try result.get()
                        first.pipe(to: second)
                        ends.value = [first.handle, second.handle]
                    }
                }
                try eventually("both are connected") { ends.value.count == 2 }
                let sizes = [0, 5, 0, 0, 1200, 0]
                for size in sizes { ends.value[0].write(Pattern(stream: 1).bytes(size)) }
                try eventually("all came") { echoed.value.count >= sizes.count }
                #expect(echoed.value.map(\.count) == sizes)
            }
            try bounded("stop") { client.stop() }
        }
    }

    /// `preWrite` adds to the datagram that is about to be sent, also to an empty one.
    @Test(
        "bytes that preWrite adds belong to the datagram that is sent next",
        arguments: Setup.single)
    func whatPreWriteAddsBelongsToTheDatagram(_ setup: Setup) throws {
        struct Handler: EventHandler {
            func preWrite(_ connection: Connection) -> Action {
                connection.write("!")
                return .none
            }

            func onTraffic(_ connection: Connection) -> Action { .none }
        }
        let seen = Shared<[[UInt8]]>([])
        try withDatagramServer(setup, collect(in: seen)) { server in
            let client = try Client(Handler(), options: setup.options())
            try client.start()
            client.connect(to: server.boundAddresses[0]) { result in
                guard let handle = try? result.get().handle else { return }
                for text in ["a", "", "b"] { handle.write(text) }
            }
            try eventually("all came") { seen.value.count >= 3 }
            #expect(seen.value.map { String(decoding: $0, as: UTF8.self) } == ["a!", "!", "b!"])
            try bounded("stop") { client.stop() }
        }
    }
}
