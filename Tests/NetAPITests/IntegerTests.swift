/// Tests of integers of every width in both orders, read and written.
import NetAPI
import Testing

@Suite struct IntegerTests {
    /// 1, 2, 3 …, so that a wrong order is detected.
    private static let ramp = (1...60).map { UInt8($0) }

    private static func both<T: FixedWidthInteger & Sendable>(_ type: T.Type) -> [Codec] {
        let size = MemoryLayout<T>.size
        let count = ramp.count / size
        let whole = Array(ramp[..<(count * size)])
        let reversed = stride(from: 0, to: whole.count, by: size).flatMap {
            whole[$0..<$0 + size].reversed()
        }
        return [
            Codec("\(type) big, big", ramp, gives: whole) { connection in
                while let value: T = connection.nextInteger() { connection.write(integer: value) }
                return .none
            },
            Codec("\(type) little, little", ramp, gives: whole) { connection in
                while let value = connection.nextInteger(.little, as: T.self) {
                    connection.write(integer: value, .little)
                }
                return .none
            },
            Codec("\(type) big, little", ramp, gives: Array(reversed)) { connection in
                while let value: T = connection.nextInteger(.big) {
                    connection.write(integer: value, .little)
                }
                return .none
            },
        ]
    }

    static let codecs: [Codec] =
        both(UInt8.self) + both(Int16.self) + both(UInt16.self) + both(UInt32.self)
        + both(Int64.self) + both(UInt64.self)

    @Test(
        "integers of every width are read and written in both byte orders",
        arguments: codecs)
    func integersKeepTheirOrder(_ codec: Codec) async {
        await sideBySide(Setup.single) { setup in
            try withServer(setup, TestHandler(traffic: codec.traffic)) { try codec.check($0) }
        }
    }

    @Test("peeking an integer consumes no bytes", arguments: Setup.single)
    func peekingAnIntegerTakesNothing(_ setup: Setup) throws {
        let codec = Codec("peekInteger", Self.ramp, gives: Array("ok".utf8)) { connection in
            guard connection.buffered == 60 else {
                #expect(connection.peekInteger(at: 57, as: UInt32.self) == nil)
                return .none
            }
            #expect(connection.peekInteger(as: UInt8.self) == 1)
            #expect(connection.peekInteger(as: UInt16.self) == 0x0102)
            #expect(connection.peekInteger(.little, as: UInt16.self) == 0x0201)
            #expect(connection.peekInteger(at: 3, as: UInt32.self) == 0x0405_0607)
            #expect(connection.peekInteger(.little, at: 3, as: UInt32.self) == 0x0706_0504)
            #expect(connection.peekInteger(at: 52, as: UInt64.self) == 0x3536_3738_393A_3B3C)
            #expect(connection.peekInteger(at: 53, as: UInt64.self) == nil)
            #expect(connection.peekInteger(at: 60, as: UInt8.self) == nil)
            #expect(connection.peekInteger(at: .max, as: UInt8.self) == nil)
            #expect(connection.buffered == 60)
            connection.discardAll()
            connection.write("ok")
            return .none
        }
        try withServer(setup, TestHandler(traffic: codec.traffic)) { try codec.check($0) }
    }

    @Test("an integer is read out of a span, within its bounds", arguments: Setup.single)
    func spansHaveIntegers(_ setup: Setup) throws {
        let codec = Codec("integer", Self.ramp, gives: Array("ok".utf8)) { connection in
            guard let frame = connection.next(60) else { return .none }
            #expect(frame.integer(as: UInt16.self) == 0x0102)
            #expect(frame.integer(.little, as: UInt16.self) == 0x0201)
            #expect(frame.integer(at: 3, as: Int32.self) == 0x0405_0607)
            #expect(frame.integer(.little, at: 52, as: UInt64.self) == 0x3C3B_3A39_3837_3635)
            #expect(frame.integer(at: 53, as: UInt64.self) == nil)
            for offset in [60, -1, .max, .min] {
                #expect(frame.integer(at: offset, as: UInt8.self) == nil)
            }
            connection.write("ok")
            return .none
        }
        try withServer(setup, TestHandler(traffic: codec.traffic)) { try codec.check($0) }
    }

    @Test("negative integers are read and written unchanged", arguments: Setup.single)
    func negativeNumbersSurvive(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            while let value: Int32 = connection.nextInteger() {
                connection.write(integer: value)
                connection.write(integer: Int64(value), .little)
            }
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send([0xFF, 0xFF, 0xFF, 0xFE])
            let expected: [UInt8] =
                [0xFF, 0xFF, 0xFF, 0xFE, 0xFE] + [UInt8](repeating: 0xFF, count: 7)
            #expect(try client.receive(exactly: 12) == expected)
        }
    }
}
