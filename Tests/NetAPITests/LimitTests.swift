/// Tests of the limits of lines and delimited items: no peer decides how many bytes are kept for
/// it.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct LimitTests {
    private static let byLine: TestHandler.OnConnection = { connection in
        try answering(connection) {
            while let line = try connection.nextLine(limit: 100) {
                connection.write(decimal: line.byteCount)
                connection.write(";")
            }
        }
    }

    private static let byDelimiter: TestHandler.OnConnection = { connection in
        try answering(connection) {
            while let item = try connection.next(through: "\r\n", limit: 100) {
                connection.write(decimal: item.byteCount - 2)
                connection.write(";")
            }
        }
    }

    private static func answering(
        _ connection: Connection, _ body: () throws -> Void
    ) throws -> Action {
        do {
            try body()
            return .none
        } catch let error as NetError where error.code == .frameTooLong {
            connection.write("too long")
            return .close
        }
    }

    private static func line(_ count: Int) -> [UInt8] {
        [UInt8](repeating: UInt8(ascii: "a"), count: count) + Array("\r\n".utf8)
    }

    @Test(
        "an item within the limit is accepted and one above it is too long",
        arguments: Setup.all, [true, false])
    func whatIsWithinTheLimitIsTakenAndWhatIsAboveIsTooLong(
        _ setup: Setup, _ isByLine: Bool
    ) throws {
        let handler = TestHandler(traffic: isByLine ? Self.byLine : Self.byDelimiter)
        try withServer(setup, handler) { server in
            for chunk in [Int.max, 7] {
                let client = try server.connect()
                try client.send(Self.line(90) + Self.line(0) + Self.line(98), chunk: chunk)
                #expect(try client.receiveText(exactly: 8) == "90;0;98;")
                try client.send(Self.line(110), chunk: chunk)
                #expect(try client.receiveTextUntilEnd() == ("too long", .clean))
            }
        }
    }

    @Test(
        "an item above the limit is too long before its delimiter arrives",
        arguments: Setup.all, [true, false])
    func anEndlessItemIsTooLongBeforeItsDelimiterComes(_ setup: Setup, _ isByLine: Bool) throws {
        let handler = TestHandler(traffic: isByLine ? Self.byLine : Self.byDelimiter)
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.drip([UInt8](repeating: UInt8(ascii: "a"), count: 103))
            #expect(try client.receiveTextUntilEnd() == ("too long", .clean))
        }
    }

    @Test(
        "the error of a frame too long states the length, the limit and a remedy",
        arguments: Setup.all)
    func theErrorSaysHowMuchAndWhatToDo(_ setup: Setup) throws {
        let text = Shared<[String]>([])
        let handler = TestHandler(traffic: { connection in
            do throws(NetError) {
                _ = try connection.nextFrame(length: UInt32.self, limit: 1_048_576)
            } catch {
                text.value = [error.cause, error.remedy, error.description]
            }
            return .close
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send([9, 9, 9, 9])
            #expect(try client.receiveEnd() == .clean)
        }
        try #require(text.value.count == 3)
        #expect(text.value[0].contains("151587081") && text.value[0].contains("1048576"))
        #expect(text.value[1].contains("limit"))
        #expect(text.value[2].contains(text.value[0]) && text.value[2].contains(text.value[1]))
    }

    /// Each byte is searched once only. Otherwise 256 KiB in pieces of 16 bytes would be 2 GB to
    /// search.
    @Test("a long line in many small pieces is searched only once", arguments: Setup.single)
    func aLongLineInManySmallPiecesCostsNoMoreThanItsLength(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            if let line = try connection.nextLine(limit: 1 << 20) {
                connection.write(decimal: line.byteCount)
            }
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            let piece = [UInt8](repeating: UInt8(ascii: "a"), count: 16)
            for _ in 0..<16_384 { try client.send(piece) }
            try client.send("\n")
            #expect(try client.receiveText(exactly: 6) == "262144")
        }
    }
}
