/// Tests that handlers in the pages of the catalogue do what the pages say, where that needs time.
import NetAPI
import NetAPITesting
import Testing

@Suite struct PageTests {
    @Test("an incomplete request has 15 s, which do not count while its peer does not read")
    func limit() throws {
        let server = try TestServer(LimitsPage.Requests())
        let peer = try server.connect()
        peer.stall()
        peer.send(String(repeating: String(repeating: "x", count: 1000) + "\n", count: 1000) + "x")
        server.advance(by: .seconds(60))
        #expect(server.connectionCount == 1 && server.statistics.readPauses == 1)
        peer.resume()
        #expect(peer.received.count == 1_000_000)
        server.advance(by: .seconds(14))
        #expect(server.connectionCount == 1)
        server.advance(by: .seconds(2))
        #expect(peer.end == .closed && server.closes == [.local])
    }

    @Test("a complete request has no limit")
    func silence() throws {
        let server = try TestServer(LimitsPage.Requests())
        let peer = try server.connect()
        peer.send("x")
        server.advance(by: .seconds(10))
        peer.send("y\n")
        server.advance(by: .seconds(60))
        #expect(peer.received == "xy" && server.connectionCount == 1)
    }
}
