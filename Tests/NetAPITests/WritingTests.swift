/// Tests that every form of writing sends the right bytes, in the order of the calls.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct WritingTests {
    /// Returns the bytes that a handler writes when a client connects, before it closes.
    private func written(
        _ setup: Setup, _ body: @escaping @Sendable (Connection) throws -> Void
    ) throws -> [UInt8] {
        let handler = TestHandler(open: { connection in
            try body(connection)
            return .close
        })
        return try withServer(setup, handler) { server in
            let client = try server.connect()
            let (bytes, end) = try client.receiveUntilEnd()
            #expect(end == .clean)
            return bytes
        }
    }

    private func writtenText(
        _ setup: Setup, _ body: @escaping @Sendable (Connection) throws -> Void
    ) throws -> String {
        String(decoding: try written(setup, body), as: UTF8.self)
    }

    @Test("every form of write sends its bytes in order", arguments: Setup.all)
    func everyFormWritesItsBytesInOrder(_ setup: Setup) throws {
        let text = try writtenText(setup) { connection in
            let array = Array("array ".utf8)
            connection.write(array)
            connection.write(Array("a slice of it ".utf8)[2...])
            connection.write("text ")
            connection.write("a part of text "[...].dropFirst(2))
            connection.write(Array("span ".utf8).span.bytes)
            array.withUnsafeBytes { connection.write($0) }
            connection.write([Array("several ".utf8), [], Array("pieces ".utf8)])
            connection.write(decimal: 42)
            connection.write(" gr\u{fc}n \u{1F33F}")
        }
        #expect(
            text == "array slice of it text part of text span array several pieces 42 "
                + "gr\u{fc}n \u{1F33F}")
    }

    @Test("an empty write of any form sends no bytes", arguments: Setup.all)
    func writingNothingIsHarmless(_ setup: Setup) throws {
        let bytes = try written(setup) { connection in
            connection.write([UInt8]())
            connection.write("")
            connection.write(Substring(""))
            connection.write([UInt8]()[...])
            connection.write([[UInt8]]())
            connection.write(UnsafeRawBufferPointer(start: nil, count: 0))
            connection.write([UInt8]().span.bytes)
            connection.write(reserving: 0) { _ in }
            connection.write(reserving: 100) { _ in }
            connection.flush()
        }
        #expect(bytes == [])
    }

    @Test("a decimal is written as the digits of the number", arguments: Setup.single)
    func decimalsAreTheDigitsOfTheNumber(_ setup: Setup) throws {
        let numbers = [0, 1, -1, 9, 10, -10, 99, 100, 1_234_567_890, .max, .min]
        let text = try writtenText(setup) { connection in
            for number in numbers {
                connection.write(decimal: number)
                connection.write(",")
            }
        }
        #expect(text == numbers.map { "\($0)," }.joined())
    }

    @Test("integers are written in their byte order", arguments: Setup.single)
    func integersAreWrittenInTheirOrder(_ setup: Setup) throws {
        let bytes = try written(setup) { connection in
            connection.write(integer: UInt8(1))
            connection.write(integer: UInt16(0x0203))
            connection.write(integer: UInt16(0x0203), .little)
            connection.write(integer: UInt32(0x0405_0607))
            connection.write(integer: Int32(-2), .little)
            connection.write(integer: UInt64(0x0809_0A0B_0C0D_0E0F), .big)
        }
        let expected: [UInt8] =
            [1, 2, 3, 3, 2, 4, 5, 6, 7, 0xFE, 0xFF, 0xFF, 0xFF] + Array(8...15)
        #expect(bytes == expected)
    }

    @Test(
        "a write into reserved space sends the bytes that were filled and no others",
        arguments: Setup.all)
    func reservedRoomIsFilledInPlace(_ setup: Setup) throws {
        let bytes = try written(setup) { connection in
            connection.write("<")
            for (room, used) in [(10, 10), (10, 3), (100_000, 100_000), (100_000, 1), (5, 0)] {
                connection.write(reserving: room) { output in
                    #expect(output.freeCapacity == room)
                    for number in 0..<used {
                        output.append(UInt8(truncatingIfNeeded: number), as: UInt8.self)
                    }
                }
            }
            connection.write(">")
        }
        let ramp = (0..<100_000).map { UInt8(truncatingIfNeeded: $0) }
        let expected = [0x3C] + ramp[..<10] + ramp[..<3] + ramp + ramp[..<1] + [0x3E]
        #expect(bytes == expected)
    }

    @Test(
        "an error in a write into reserved space discards the bytes of that write",
        arguments: Setup.all)
    func anErrorFromReservedRoomWritesNothingOfIt(_ setup: Setup) throws {
        let text = try writtenText(setup) { connection in
            connection.write("before ")
            do throws(Mishap) {
                try connection.write(reserving: 10) { output throws(Mishap) in
                    output.append(0x21, as: UInt8.self)
                    throw Mishap()
                }
                connection.write("no error ")
            } catch {
                connection.write("\(error.text) ")
            }
            connection.write("after")
        }
        #expect(text == "before mishap after")
    }

    @Test("a frame is written as its length and then its bytes", arguments: Setup.single)
    func aFrameIsItsLengthAndItsBytes(_ setup: Setup) throws {
        let bytes = try written(setup) { connection in
            let payload: [UInt8] = [9, 8, 7]
            connection.writeFrame(payload.span.bytes, length: UInt8.self)
            connection.writeFrame(payload.span.bytes, length: UInt16.self)
            connection.writeFrame(payload.span.bytes, length: UInt16.self, .little)
            connection.writeFrame([UInt8]().span.bytes, length: UInt32.self)
        }
        #expect(bytes == [3, 9, 8, 7] + [0, 3, 9, 8, 7] + [3, 0, 9, 8, 7] + [0, 0, 0, 0])
    }

    @Test("writes of sizes around every buffer size keep their order", arguments: Setup.all)
    func sizesAroundEveryBufferSizeKeepTheirOrder(_ setup: Setup) throws {
        let sizes = [1, 4095, 4096, 4097, 16_383, 65_535, 65_536, 65_537, 262_144, 3, 1 << 20, 1]
        let pattern = Pattern(stream: 12)
        let bytes = try written(setup) { connection in
            var position = 0
            for size in sizes {
                connection.write(pattern.bytes(size, from: position))
                position += size
            }
        }
        #expect(bytes.count == sizes.reduce(0, +))
        try pattern.verify(bytes)
    }

    @Test("flush sends the bytes before the callback returns", arguments: Setup.all)
    func flushSendsBeforeTheCallbackReturns(_ setup: Setup) throws {
        let isReceived = Shared(false)
        let sawIt = Shared(false)
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            connection.write("now")
            connection.flush()
            let deadline = Deadline()
            while !isReceived.value && !deadline.isPast { pause(.milliseconds(1)) }
            sawIt.value = isReceived.value
            connection.write(", later")
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("x")
            #expect(try client.receiveText(exactly: 3) == "now")
            isReceived.value = true
            #expect(try client.receiveText(exactly: 7) == ", later")
        }
        #expect(sawIt.value)
    }

    @Test("bytes written to other connections of the same loop are sent", arguments: Setup.all)
    func writesToAnotherConnectionOfTheLoopGoOut(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            let text = String(decoding: connection.next())
            for other in connection.loop.connections where other != connection {
                other.write(text)
            }
            return .none
        })
        try withServer(setup, handler) { server in
            let clients = try (0..<3 * setup.loops).map { _ in try server.connect() }
            try handler.log.waitFor(.open, count: clients.count)
            try clients[0].send("to the others")
            var others: [TestClient] = []
            try eventually("two have bytes") {
                others = try clients.dropFirst().filter { try $0.poll(for: 1, Deadline(.zero)) }
                return others.count >= 2
            }
            for other in others {
                #expect(try other.receiveText(exactly: 13) == "to the others")
            }
            // None of the others has them, also a moment later.
            pause(.milliseconds(50))
            #expect(others.count == 2)
            for client in clients { #expect(try client.staysSilent(for: .zero)) }
        }
    }

    @Test("bytes lent by one connection may be written to another", arguments: Setup.all)
    func lentBytesOfOneConnectionMayBeWrittenToAnother(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            let taken = connection.next()
            for other in connection.loop.connections where other != connection {
                other.write(taken)
            }
            return .none
        })
        try withServer(setup, handler) { server in
            let pair = try (0..<2 * setup.loops).map { _ in try server.connect() }
            try handler.log.waitFor(.open, count: pair.count)
            let pattern = Pattern(stream: 1)
            let sender = Worker { try pair[0].send(pattern.bytes(1 << 20)) }
            // Round-robin: the next client on the same loop.
            try pair[setup.loops].receive(pattern, exactly: 1 << 20)
            try sender.join("sending")
        }
    }
}
