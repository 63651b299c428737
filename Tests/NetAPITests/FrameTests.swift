/// Tests of length-prefixed frames: every width and order, chunks of any size, limits, and large
/// batches.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct FrameTests {
    /// Reads frames after two bytes of magic; the answer has no magic.
    private static func codec<Length: FixedWidthInteger & UnsignedInteger & Sendable>(
        _ type: Length.Type, _ order: ByteOrder
    ) -> Codec {
        let texts = ["first", "", "the third one", "4"]
        var input: [UInt8] = []
        var output: [UInt8] = []
        for text in texts {
            var size = Array(withUnsafeBytes(of: Length(text.utf8.count).bigEndian, Array.init))
            if order == .little { size.reverse() }
            input += [0x31, 0x33] + size + Array(text.utf8)
            output += size + Array(text.utf8)
        }
        return Codec("\(type) \(order)", input + [0x31], gives: output) { connection in
            while let magic: UInt16 = connection.peekInteger() {
                #expect(magic == 0x3133)
                guard
                    let frame = try connection.nextFrame(
                        after: 2, length: type, order, limit: 200)
                else { break }
                connection.writeFrame(frame, length: type, order)
            }
            return .none
        }
    }

    static let codecs = [
        codec(UInt8.self, .big), codec(UInt8.self, .little), codec(UInt16.self, .big),
        codec(UInt16.self, .little), codec(UInt32.self, .big), codec(UInt32.self, .little),
        codec(UInt64.self, .big), codec(UInt64.self, .little),
    ]

    @Test(
        "frames of every length width and byte order are read and written",
        arguments: codecs)
    func framesAreTakenOutAndPutIn(_ codec: Codec) async {
        await sideBySide(Setup.all) { setup in
            try withServer(setup, TestHandler(traffic: codec.traffic)) { try codec.check($0) }
        }
    }

    /// The size of a frame, and the frames in a batch.
    @Test(
        "each reply of a batch equals its request, in order",
        arguments: Setup.all, [(64, 200), (1 << 20, 2), (10_000, 20), (0, 100)])
    func everyReplyOfABatchEqualsItsRequestInOrder(
        _ setup: Setup, _ shape: (size: Int, count: Int)
    ) throws {
        let handler = TestHandler(traffic: { connection in
            while let frame = try connection.nextFrame(length: UInt32.self, limit: 1 << 20) {
                connection.writeFrame(frame, length: UInt32.self)
            }
            return .none
        })
        try withServer(setup, handler) { server in
            let workers = (0..<4).map { number in
                Worker {
                    let client = try server.connect()
                    for batch in 0..<5 {
                        let bytes = Self.batch(shape, stream: number * 100 + batch)
                        let sender = Worker { try client.send(bytes, chunk: 9973) }
                        guard try client.receive(exactly: bytes.count) == bytes else {
                            throw Mishap(text: "client \(number), batch \(batch)")
                        }
                        try sender.join("sending a batch")
                    }
                }
            }
            for worker in workers { try worker.join("five batches") }
        }
    }

    private static func batch(_ shape: (size: Int, count: Int), stream: Int) -> [UInt8] {
        let pattern = Pattern(stream: stream)
        let header = withUnsafeBytes(of: UInt32(shape.size).bigEndian, Array.init)
        return (0..<shape.count).flatMap { number in
            header + pattern.bytes(shape.size, from: number * shape.size)
        }
    }

    @Test(
        "a frame of exactly the limit is accepted and one more byte is too long",
        arguments: Setup.all)
    func aFrameOfExactlyTheLimitIsTakenAndOneMoreByteIsTooLong(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            do throws(NetError) {
                while let frame = try connection.nextFrame(length: UInt16.self, limit: 1000) {
                    connection.write(decimal: frame.byteCount)
                    connection.write(";")
                }
                return .none
            } catch {
                connection.write(error.code == .frameTooLong ? "too long" : "\(error)")
                return .close
            }
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send([0x03, 0xE8] + [UInt8](repeating: 1, count: 1000))
            #expect(try client.receiveText(exactly: 5) == "1000;")
            // Detected from the length alone: the server does not wait for bytes that it would
            // refuse.
            try client.send([0x03, 0xE9])
            #expect(try client.receiveTextUntilEnd() == ("too long", .clean))
        }
    }

    @Test(
        "an impossibly large frame length throws frameTooLong and does not trap",
        arguments: Setup.all)
    func aLengthThatNoMachineCouldHoldIsTooLongAndNoTrap(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            do throws(NetError) {
                let limit = connection.localAddress.port == 0 ? 0 : Int.max
                let frame = try connection.nextFrame(length: UInt64.self, limit: 1 << 20)
                connection.write(frame == nil ? "" : "a frame with limit \(limit)")
                return .none
            } catch {
                connection.write("\(error.code == .frameTooLong); \(error)")
                return .close
            }
        })
        try withServer(setup, handler) { server in
            for first: UInt8 in [0xFF, 0x80, 0x7F, 0x09] {
                let client = try server.connect()
                try client.send([first] + [UInt8](repeating: 0xFF, count: 7))
                let (text, end) = try client.receiveTextUntilEnd()
                #expect(text.hasPrefix("true; ") && text.contains("1048576"), "\(text)")
                #expect(end == .clean)
            }
        }
    }

    @Test("an unlimited frame limit does not trap", arguments: Setup.all)
    func anUnlimitedLimitDoesNotTrapEither(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            do throws(NetError) {
                if try connection.nextFrame(after: 8, length: UInt64.self, limit: .max) != nil {
                    connection.write("a frame")
                }
                return .none
            } catch {
                connection.write(error.code == .frameTooLong ? "too long" : "\(error)")
                return .close
            }
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send([UInt8](repeating: 0, count: 8) + [0x7F])
            try client.send([UInt8](repeating: 0xFF, count: 7))
            client.shutdownWrite()
            // Too long or never complete: both results are right, a trap is not.
            #expect(["", "too long"].contains(try client.receiveTextUntilEnd().text))
        }
    }
}
