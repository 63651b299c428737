/// Tests of passed-on bytes: forwarded, piped with back-pressure, or sent from a file.
import Glibc
import MillraceTestSupport
import NetAPI
import Synchronization
import Testing

@Suite struct PassingTests {
    @Test(
        "pipes in both directions forward the bytes and the ends of stream",
        arguments: Setup.receiving)
    func aPipeCarriesBothWaysAndItsEndsToo(_ setup: Setup) throws {
        // The server answers only after the client's end, and then ends: the proxy must forward a
        // half-close.
        let held = PerConnection<[UInt8]>([])
        var serving = TestHandler()
        serving.traffic = { connection in
            connection[held] += connection.readArray()
            return .none
        }
        serving.halfClose = { connection in
            connection.write(connection[held])
            return .close
        }
        let options = setup.options {
            $0.allowHalfClosure = true
            $0.limits.inboundBytes = 8 << 20
        }
        try withServer(setup, serving, options: options) { backend in
            try withPipes(setup, to: backend.addresses[0]) { proxy, _ in
                for size in [1, 100_000, 3_000_000] {
                    let client = try proxy.connect()
                    let pattern = Pattern(stream: size)
                    let sender = Worker {
                        try client.send(pattern.bytes(size))
                        client.shutdownWrite()
                    }
                    let (count, end) = try client.receiveUntilEnd(pattern)
                    #expect(count == size && end == .clean)
                    try sender.join("sending")
                    client.close()
                }
                try proxy.waitUntilEmpty()
                try backend.waitUntilEmpty()
            }
        }
    }

    @Test(
        "a pipe pauses a source that sends faster than its target accepts",
        arguments: Setup.receiving)
    func aPipeHoldsBackWhoSendsFasterThanTheOtherTakes(_ setup: Setup) throws {
        let size = 24 << 20
        var serving = TestHandler(traffic: TestHandler.ignore)
        serving.open = { connection in
            connection.write(Pattern(stream: 5).bytes(size))
            return .none
        }
        try withServer(setup, serving) { backend in
            try withPipes(setup, to: backend.addresses[0]) { proxy, _ in
                let before = residentBytes()
                let client = try proxy.connect(receiveBuffer: 16_384)
                try settled("what the proxy reads") { proxy.server.statistics.bytesIn }
                #expect(proxy.server.statistics.bytesIn < size / 2, "it read all without a taker")
                #expect(residentBytes() - before < 64 << 20)
                try client.receive(Pattern(stream: 5), exactly: size)
                client.close()
                try proxy.waitUntilEmpty()
            }
        }
    }

    @Test(
        "a close or reset of one side of a pipe closes the other side",
        arguments: Setup.receiving)
    func aPipeBreaksAsAWhole(_ setup: Setup) throws {
        try withServer(setup) { backend in
            try withPipes(setup, to: backend.addresses[0]) { proxy, _ in
                for number in 0..<10 {
                    let client = try proxy.connect()
                    #expect(try client.roundTrip("hello \(number)"))
                    if number % 2 == 0 { client.reset() } else { client.close() }
                }
                try proxy.waitUntilEmpty()
                try backend.waitUntilEmpty()
            }
        }
    }

    @Test("forward sends the unread bytes to another connection", arguments: Setup.single)
    func whatIsUnreadIsForwarded(_ setup: Setup) throws {
        let first = Shared<ConnectionHandle?>(nil)
        var handler = TestHandler()
        let other = PerConnection<Connection?>(nil)
        handler.open = { connection in
            if first.value == nil {
                first.value = connection.handle
            } else {
                connection[other] = connection.loop.connections.first { $0 != connection }
            }
            return .none
        }
        handler.traffic = { connection in
            guard let target = connection[other] else { return .none }
            #expect(connection.forward(to: target) > 0)
            return .none
        }
        try withServer(setup, handler) { server in
            let reader = try server.connect()
            try handler.log.waitFor(.open)
            let writer = try server.connect()
            try writer.send("for the other one")
            #expect(try reader.receiveText(exactly: 17) == "for the other one")
        }
    }

    @Test("sendFile sends a file in order with the written bytes", arguments: Setup.receiving)
    func aFileGoesOutInOrderWithWhatIsWritten(_ setup: Setup) throws {
        let path = TemporaryPath.make("file")
        defer { unlink(path) }
        let text = String(repeating: "0123456789abcdef", count: 200_000)
        try TemporaryPath.write(text, to: path)
        var handler = TestHandler()
        handler.traffic = { connection in
            connection.discardAll()
            let file = Glibc.open(path, O_RDONLY)
            defer { Glibc.close(file) }
            connection.write("head ")
            try connection.sendFile(file, offset: 16, count: text.utf8.count - 16)
            connection.write(" middle ")
            try connection.sendFile(file, offset: 0, count: 16)
            connection.write(" tail")
            return .close
        }
        try withServer(setup, handler) { server in
            for buffer in [nil, 8192] as [CInt?] {
                let client = try server.connect(receiveBuffer: buffer)
                try client.send("x")
                let (got, end) = try client.receiveTextUntilEnd()
                #expect(got == "head \(text.dropFirst(16)) middle 0123456789abcdef tail")
                #expect(end == .clean)
                client.close()
            }
            try server.waitUntilEmpty()
        }
    }

    /// The descriptor is closed once: after its last byte, with its connection, or with the error.
    /// Its number shows that, since a closed one is given out again.
    @Test(
        "a file passed to sendFile(takingOver:) is closed by the library",
        arguments: Setup.single)
    func aFileThatIsTakenOverIsClosedByTheLibrary(_ setup: Setup) throws {
        let path = TemporaryPath.make("file")
        defer { unlink(path) }
        let size = 40 << 20
        try TemporaryPath.write("tail", to: path)
        #expect(truncate(path, off_t(size)) == 0)
        let files = Mutex<[CInt]>([])
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            let (short, long) = (Glibc.open(path, O_RDONLY), Glibc.open(path, O_RDONLY))
            let (empty, wrong) = (Glibc.open(path, O_RDONLY), Glibc.open(path, O_RDONLY))
            files.withLock { $0 = [short, empty, wrong, long] }
            try connection.sendFile(takingOver: short, offset: 0, count: 4)
            try connection.sendFile(takingOver: empty, offset: 0, count: 0)
            #expect(throws: NetError.self) {
                try connection.sendFile(takingOver: wrong, offset: -1, count: 1)
            }
            #expect(fcntl(empty, F_GETFD) < 0 && fcntl(wrong, F_GETFD) < 0)
            try connection.sendFile(takingOver: long, offset: 4, count: size - 4)
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect(receiveBuffer: 4096)
            try client.send("x")
            #expect(try client.receiveText(exactly: 4) == "tail")
            let numbers = files.withLock { $0 }
            // The client may have the bytes before the loop hears that they are sent.
            try eventually("the short file is closed") { fcntl(numbers[0], F_GETFD) < 0 }
            #expect(fcntl(numbers[3], F_GETFD) >= 0)
            client.close()
            try handler.log.waitFor(.close)
            try server.waitUntilEmpty()
            #expect(fcntl(numbers[3], F_GETFD) < 0)
        }
    }

    @Test(
        "sendFile resets the connection when the file is shorter than the given count",
        arguments: Setup.single)
    func aFileThatIsShorterThanPromisedResets(_ setup: Setup) throws {
        let path = TemporaryPath.make("file")
        defer { unlink(path) }
        try TemporaryPath.write("short", to: path)
        var handler = TestHandler()
        handler.traffic = { connection in
            connection.discardAll()
            let file = Glibc.open(path, O_RDONLY)
            defer { Glibc.close(file) }
            try connection.sendFile(file, offset: 0, count: 1000)
            #expect(throws: NetError.self) { try connection.sendFile(-1, offset: 0, count: 1) }
            #expect(throws: NetError.self) { try connection.sendFile(file, offset: -1, count: 1) }
            #expect(throws: NetError.self) { try connection.sendFile(file, offset: 0, count: .max) }
            #expect(throws: NetError.self) { try connection.sendFile(file, offset: .max, count: 1) }
            return .none
        }
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("x")
            let (_, end) = try client.receiveUntilEnd()
            guard case .reset = end else {
                Issue.record("ended with \(end)")
                return
            }
            client.close()
            try handler.log.waitFor(.close)
        }
    }
}
