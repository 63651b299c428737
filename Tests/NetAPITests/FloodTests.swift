/// Tests of peers that send and never read: memory stays bounded, and bytes that the server has
/// read are not lost.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct FloodTests {
    @Test(
        "eight 48 MiB streams stay bounded while unread and are echoed whole",
        arguments: Setup.all)
    func eightFloodsOfFortyEightMiBWithoutReadingStayBoundedAndComeBackWhole(
        _ setup: Setup
    ) throws {
        try withServer(setup) { server in
            var flows = try (0..<8).map { index in
                Flow(try server.connect(), stream: index, length: 48 << 20)
            }
            for flow in flows { #expect(try flow.client.roundTrip("warm")) }
            let before = residentBytes()
            try Exchange.push(&flows, untilQuietFor: .milliseconds(300))
            let grown = residentBytes() - before
            #expect(grown < 32 << 20 || Probe.isSanitized, "grew by \(grown >> 20) MiB")
            for flow in flows { #expect(flow.sent > 0) }
            flows = flows.map { $0.cutHere() }
            try Exchange.run(&flows)
            #expect(Probe.processorShare(over: .milliseconds(500)) < 0.05 || Probe.isSanitized)
        }
    }

    @Test("a blocked peer does not delay other peers", arguments: Setup.all)
    func aBlockedPeerDoesNotHoldUpOthers(_ setup: Setup) throws {
        try withServer(setup) { server in
            var floods = try (0..<4).map { index in
                Flow(try server.connect(), stream: index, length: 48 << 20)
            }
            try Exchange.push(&floods, untilQuietFor: .milliseconds(300))
            let limit = Probe.isSanitized ? patience : .seconds(5)
            try promptly("ten streams", within: limit) {
                var flows = try (0..<10).map { index in
                    Flow(try server.connect(), stream: 100 + index, length: 500_000)
                }
                return try elapsed { try Exchange.run(&flows) }
            }
        }
    }

    @Test(
        "buffered replies larger than their requests stay bounded by the marks",
        arguments: Setup.all)
    func repliesLargerThanRequestsStayBoundedByTheMarks(_ setup: Setup) throws {
        let pieces = Shared(0)
        let peak = Shared(0)
        let handler = TestHandler(traffic: { connection in
            while let piece = connection.next(1024) {
                let number = piece.unsafeLoad(as: UInt8.self)
                connection.write([UInt8](repeating: number, count: 16 * 1024))
                pieces.update { $0 += 1 }
            }
            let waiting = connection.outboundBuffered
            peak.update { $0 = max($0, waiting) }
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect(receiveBuffer: 65_536)
            let sender = Worker {
                for number in 0..<2048 {
                    try client.send([UInt8](repeating: UInt8(number % 256), count: 1024))
                }
            }
            try settled("the pieces") { pieces.value }
            // A stream receives at most 128 KiB before it is stopped, and may have been started
            // again in the same turn. The limit is sixteen times both, above the mark.
            #expect(peak.value <= (4 << 20) + (256 << 10))
            for number in 0..<2048 {
                let expected = [UInt8](repeating: UInt8(number % 256), count: 16 * 1024)
                #expect(try client.receive(exactly: expected.count) == expected)
            }
            try sender.join("sending 2 MiB")
            #expect(pieces.value == 2048)
        }
    }
}
