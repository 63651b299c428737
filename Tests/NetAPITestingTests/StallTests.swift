/// Tests of peers that do not read, or read slowly.
import NetAPI
import NetAPITesting
import Testing

@Suite struct StallTests {
    @Test("a stalled peer gets no byte, and after its return all of them", arguments: [1, 2])
    func stall(_ loops: Int) throws {
        let server = try TestServer(EchoHandler(), options: options(loops: loops))
        let peer = try server.connect()
        let bytes = TestBytes(repeating: 7, count: 100_000)
        peer.stall()
        peer.send(bytes)
        #expect(peer.received.isEmpty && peer.unreadCount == 0)
        server.advance(by: .seconds(3600))
        #expect(peer.received.isEmpty && peer.end == .open)
        peer.resume()
        #expect(peer.received == bytes)
    }

    @Test("a stall with a window fills the window, then the limit of unsent bytes")
    func window() throws {
        var options = Options()
        options.limits.outboundHighMark = 10_000
        options.limits.outboundLowMark = 1_000
        let server = try TestServer(EchoHandler(), options: options)
        let peer = try server.connect()
        peer.stall(window: 500)
        for _ in 0..<40 { peer.send(TestBytes(repeating: 1, count: 1_000)) }
        #expect(peer.unreadCount == 500)
        // The server has stopped to read.
        #expect(server.statistics.readPauses == 1 && server.statistics.bytesIn < 40_000)
        peer.resume()
        #expect(peer.received.count == 40_000)
    }

    @Test("a peer that never reads is closed by the write timeout")
    func timeout() throws {
        let server = try TestServer(
            EchoHandler(), options: Options().with { $0.timeouts.write = .seconds(20) })
        let peer = try server.connect()
        peer.stall()
        peer.send("x")
        server.advance(by: .seconds(60))
        #expect(server.closes == [.timeout])
        #expect(peer.end == .reset)
    }

    @Test("too much output for a stalled peer closes it with an overflow")
    func overflow() throws {
        var options = Options()
        options.limits.outboundBytes = 1_000
        options.limits.outboundHighMark = 1_000
        options.limits.outboundLowMark = 0
        let server = try TestServer(EchoHandler(), options: options)
        let peer = try server.connect()
        peer.stall()
        peer.send(TestBytes(repeating: 1, count: 5_000))
        #expect(server.closes == [.outboundOverflow] && peer.end == .reset)
    }

    @Test("a slow peer reads at its pace")
    func pace() throws {
        let server = try TestServer(EchoHandler())
        let peer = try server.connect()
        peer.read(10, every: .seconds(1))
        peer.send(TestBytes(repeating: 1, count: 95))
        #expect(peer.received.isEmpty)
        server.advance(by: .seconds(5))
        #expect(peer.received.count == 50)
        peer.resume()
        #expect(peer.received.count == 95)
    }

    @Test("a small window of a peer holds the rest back while it is slow")
    func smallWindow() throws {
        let server = try TestServer(EchoHandler())
        let peer = try server.connect(window: 30)
        peer.read(10, every: .seconds(1))
        peer.send(TestBytes(repeating: 1, count: 95))
        #expect(peer.unreadCount == 30)
        server.advance(by: .seconds(20))
        #expect(peer.received.count == 95)
    }
}
