/// The handler of the server without a socket.
import NetAPI
import NetAPITesting
import RPCCodec
import Testing

@testable import rpc_server

@Suite struct ServerTests {
    private static let requests = Frames.bytes(Frames.echo(7, "hello"), Frame(id: 8, code: 9))
    private static let answers = Frames.bytes(
        Frames.answer(7, "hello"),
        Frame(id: 8, code: Status.refusal, body: Array("no such call".utf8)))

    @Test("calls are answered in every cut", arguments: everyCut(of: requests))
    func cuts(_ cut: Cut) throws {
        #expect(try TestServer(CallHandler()).reply(to: cut) == Self.answers)
    }

    @Test("an answer is sent when it is ready, also behind the client's end")
    func order() throws {
        let server = try TestServer(CallHandler())
        let peer = try server.connect()
        peer.send(Frames.bytes(Frames.wait(1, 50, "slow"), Frames.wait(2, 10, "fast")))
        peer.finish()
        server.advance(by: .milliseconds(100))
        #expect(peer.received == Frames.bytes(Frames.answer(2, "fast"), Frames.answer(1, "slow")))
        #expect(peer.end == .closed)
    }

    @Test("calls above the limit wait, and all are answered", arguments: TestSeed.each(1...10))
    func limit(_ seed: TestSeed) throws {
        let network = TestNetwork(seed: seed, faults: .lossless)
        let server = try TestServer(CallHandler(), on: network)
        let peer = try server.connect()
        for id in 1...1000 { peer.send(Frames.bytes(Frames.wait(UInt64(id), 10, "x"))) }
        server.advance(by: .seconds(30))
        #expect(peer.received.count == 1000 * Frames.bytes(Frames.answer(1, "x")).count)
    }

    @Test("a stop waits for answers and no longer")
    func stop() throws {
        let server = try TestServer(CallHandler())
        let peer = try server.connect()
        peer.send(Frames.bytes(Frames.wait(1, 200, "late")))
        let time = try server.stop()
        #expect(peer.received == Frames.bytes(Frames.answer(1, "late")))
        #expect(time < .seconds(1))
    }

    @Test("a frame above the limit, or too short for its head, closes", arguments: [70_000, 8])
    func malformed(_ length: UInt32) throws {
        let server = try TestServer(CallHandler())
        let peer = try server.connect()
        peer.send(withUnsafeBytes(of: length.bigEndian) { Array($0) } + [1, 2, 3, 4, 5, 6, 7, 8])
        #expect(peer.end == .closed && peer.received.isEmpty)
    }
}
