/// Tests of sockets made elsewhere: inherited listeners, and streams that other code connected.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct AdoptingTests {
    @Test("start refuses a listener that is listed twice and closes it once", arguments: Setup.all)
    func aListenerThatIsListedTwiceIsRefusedAndClosedOnce(_ setup: Setup) throws {
        let number = try elevated(plainListener())
        let server = try Server(
            TestHandler(), listen: .inherited(number), .inherited(number),
            options: setup.options())
        let error = #expect(throws: NetError.self) { try server.start() }
        #expect(error?.code == .invalidAddress)
        #expect(error?.cause.contains("fd://\(number)") == true)
        #expect(error?.cause.contains("twice") == true)
        #expect(!isOpen(number))
    }

    /// From `start` on the server owns all of them, also those that it has not reached.
    @Test("a start that fails closes all inherited listeners", arguments: Setup.all)
    func aStartThatFailsClosesWhatWasInherited(_ setup: Setup) throws {
        let numbers = try (0..<3).map { _ in try elevated(plainListener()) }
        try withServer(setup) { taken in
            let server = try Server(
                TestHandler(),
                listen: [
                    .inherited(numbers[0]), taken.addresses[0], .inherited(numbers[1]),
                    .inherited(numbers[2]),
                ], options: setup.options())
            let error = #expect(throws: NetError.self) { try server.start() }
            #expect(error?.code == .addressInUse)
            #expect(!numbers.contains { isOpen($0) })
        }
    }

    @Test("the start of a stopped server closes inherited listeners once", arguments: Setup.single)
    func aStartAfterAStopClosesWhatWasInherited(_ setup: Setup) throws {
        let number = try elevated(plainListener())
        let server = try Server(
            TestHandler(), listen: .inherited(number), options: setup.options())
        server.requestStop()
        #expect(isOpen(number))
        #expect(throws: NetError.self) { try server.start() }
        #expect(!isOpen(number))
        // The number is another file's now.
        #expect(dup2(0, number) == number)
        defer { close(number) }
        #expect(throws: NetError.self) { try server.start() }
        let reason = try server.run()
        #expect("\(reason)" == "stopped")
        #expect(isOpen(number))
    }

    /// Returns the server's end of a connection to this client, in this process.
    private func otherEnd(of client: TestClient) throws -> CInt {
        let own = try addressText(of: client.descriptor)
        for number in 3..<4096 as Range<CInt> where number != client.descriptor {
            if let peer = try? addressText(of: number, peer: true), peer == own { return number }
        }
        throw SystemFailure("getpeername", ENOTCONN)
    }

    /// An accepted socket inherits SO_LINGER from its listener, and a close that waits for the peer
    /// blocks a loop.
    @Test("a socket accepted from an inherited listener has SO_LINGER off", arguments: Setup.all)
    func whatAnInheritedListenerAcceptsDoesNotLinger(_ setup: Setup) throws {
        let number = try plainListener()
        try setSocketOption(number, SOL_SOCKET, SO_LINGER, linger(l_onoff: 1, l_linger: 3))
        try withServer(setup, listen: [.inherited(number)]) { server in
            let client = try server.connect()
            #expect(try client.roundTrip("x"))
            let wrong = linger(l_onoff: 7, l_linger: 7)
            let found = try socketOption(otherEnd(of: client), SOL_SOCKET, SO_LINGER, wrong)
            #expect(found.l_onoff == 0)
        }
    }

    @Test("an inherited listener serves clients", arguments: Setup.all)
    func anInheritedListenerServes(_ setup: Setup) throws {
        try withServer(setup, listen: [.inherited(try plainListener())]) { server in
            #expect(server.addresses[0].description.hasPrefix("tcp://127.0.0.1:"))
            for number in 0..<10 {
                let client = try server.connect()
                #expect(try client.roundTrip("hello \(number)"))
            }
        }
    }

    @Test(
        "start refuses a descriptor that is not a listener and reports its number",
        arguments: Setup.single)
    func whatIsNoListenerIsRefusedInWords(_ setup: Setup) throws {
        let plain = try elevated(plainStream())
        for number in [plain, 9999] {
            let server = try Server(
                TestHandler(), listen: .inherited(number), options: setup.options())
            let error = #expect(throws: NetError.self) { try server.start() }
            #expect(error?.code == .invalidAddress)
            #expect(error?.description.contains("fd://\(number)") == true)
            #expect(!isOpen(number))
        }
        #expect(throws: NetError.self) { try Address(parsing: "fd://x") }
    }

    @Test("adopt serves a connected stream and refuses an unconnected socket", arguments: Setup.all)
    func aConnectedStreamIsTakenOver(_ setup: Setup) throws {
        let client = try Client(TestHandler(), options: setup.options())
        try client.start()
        var ends: [CInt] = [-1, -1]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        client.adopt(ends[0])
        #expect(write(ends[1], "hello", 5) == 5)
        var buffer = [UInt8](repeating: 0, count: 16)
        #expect(read(ends[1], &buffer, 16) == 5)
        close(ends[1])
        try eventually("it closed") { client.connectionCount == 0 }
        let failures = Shared<[String]>([])
        client.adopt(try plainStream()) { error in
            failures.update { $0.append("\(error.code)") }
        }
        try eventually("it is refused") { failures.value == ["unsupported"] }
        try bounded("stop") { client.stop() }
    }

    @Test("bytes that onOpen writes to an adopted stream arrive at the peer", arguments: Setup.all)
    func whatAnAdoptedStreamWritesFirstGoesOut(_ setup: Setup) throws {
        let handler = TestHandler(open: { connection in
            connection.write("hello")
            return .none
        })
        let client = try Client(handler, options: setup.options())
        try client.start()
        var ends: [CInt] = [-1, -1]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        client.adopt(ends[0])
        let (descriptor, greeting) = (ends[1], Shared(0))
        let reader = Worker {
            var buffer = [UInt8](repeating: 0, count: 16)
            greeting.value = read(descriptor, &buffer, 16)
        }
        try reader.join("the greeting")
        #expect(greeting.value == 5)
        close(ends[1])
        try eventually("it closed") { client.connectionCount == 0 }
        try bounded("stop") { client.stop() }
    }

    @Test("a handler adopts a stream onto its loop, after its callback", arguments: Setup.all)
    func aHandlerAdopts(_ setup: Setup) throws {
        let (ends, order) = (Shared<[CInt]>([-1, -1]), Shared<[String]>([]))
        let handler = TestHandler(
            open: { connection in
                if !connection.isAccepted { order.update { $0.append("open") } }
                return .none
            },
            traffic: { connection in
                guard connection.bytes.equals("adopt") else {
                    return try TestHandler.echo(connection)
                }
                connection.loop.adopt(ends.value[0])
                connection.loop.adopt(try plainStream()) { error in
                    order.update { $0.append("\(error.code)") }
                }
                order.update { $0.append("returned") }
                return try TestHandler.echo(connection)
            })
        try withServer(setup, handler) { server in
            var pair: [CInt] = [-1, -1]
            #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0)
            ends.value = pair
            let echoed = try server.connect().roundTrip("adopt")
            #expect(echoed)
            #expect(write(pair[1], "hello", 5) == 5)
            var buffer = [UInt8](repeating: 0, count: 16)
            #expect(read(pair[1], &buffer, 16) == 5)
            #expect(order.value == ["returned", "open", "unsupported"])
            close(pair[1])
        }
    }

    @Test(
        "a server with deferAccept opens a connection after its first bytes arrive",
        arguments: Setup.single)
    func deferredAcceptsServeWhoSpeaksFirst(_ setup: Setup) throws {
        let options = setup.options { $0.tcp.deferAccept = .seconds(5) }
        let handler = TestHandler()
        try withServer(setup, handler, options: options) { server in
            let silent = try server.connect()
            #expect(try server.connect().roundTrip("first"))
            #expect(handler.log.count(.open) == 1)
            #expect(try silent.roundTrip("later"))
        }
    }

    @Test("loopStatistics counts the connections of each loop separately", arguments: Setup.several)
    func eachLoopCountsForItself(_ setup: Setup) throws {
        try withServer(setup) { server in
            let clients = try (0..<4).map { _ in try server.connect() }
            for client in clients { #expect(try client.roundTrip("x")) }
            let each = server.server.loopStatistics
            #expect(each.map(\.open).reduce(0, +) == 4)
            #expect(each.prefix(2).allSatisfy { $0.open == 2 })
            #expect(each.allSatisfy { $0.kernelEntries > 0 })
        }
    }
}
