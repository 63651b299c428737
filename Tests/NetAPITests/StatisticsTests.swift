/// Tests that the counters add up.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct StatisticsTests {
    @Test(
        "statistics count the accepted and open connections and the bytes in and out",
        arguments: Setup.all)
    func whatWasCountedIsWhatHappened(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            connection.write("ten bytes!")
            return .none
        })
        let server = try withServer(setup, handler) { server in
            var clients: [TestClient] = []
            for number in 1...20 {
                let client = try server.connect()
                try client.send([UInt8](repeating: 1, count: number * 10))
                _ = try client.receive(exactly: 10)
                clients.append(client)
            }
            let statistics = server.server.statistics
            #expect(statistics.accepted == 20)
            #expect(statistics.open == 20 && server.server.connectionCount == 20)
            #expect(statistics.bytesIn == (1...20).reduce(0) { $0 + $1 * 10 })
            // Counted a moment after the kernel accepted them.
            try eventually("200 bytes out") { server.server.statistics.bytesOut == 200 }
            #expect(statistics.turns > 0)
            #expect(statistics.overflowCloses == 0)
            #expect(statistics.acceptBackOffs == 0)
            for client in clients.prefix(5) { client.close() }
            try eventually("15 left") { server.server.statistics.open == 15 }
            return server.server
        }
        let statistics = server.statistics
        #expect(statistics.accepted == 20 && statistics.open == 0)
        #expect(statistics.bytesOut == 200)
    }

    @Test("each byte of a stream is counted once in and once out", arguments: Setup.all)
    func bytesOfAStreamAreCountedOnceEach(_ setup: Setup) throws {
        let server = try withServer(setup) { server in
            var flows = try (0..<4).map {
                Flow(try server.connect(), stream: $0, length: 3_000_000)
            }
            try Exchange.run(&flows)
            return server.server
        }
        #expect(server.statistics.bytesIn == 12_000_000)
        #expect(server.statistics.bytesOut == 12_000_000)
    }

    @Test("the loops of an idle server run almost no turns", arguments: Setup.all)
    func anIdleServerTakesNoTurns(_ setup: Setup) throws {
        try withServer(setup) { server in
            let client = try server.connect()
            #expect(try client.roundTrip("x"))
            pause(.milliseconds(50))
            let before = server.server.statistics.turns
            pause(.milliseconds(500))
            #expect(server.server.statistics.turns - before <= 5)
        }
    }
}
