/// Many members at once, and many events in one turn of a loop: no member is reset for the acts of
/// others.
import NetAPI
import NetAPITesting
import Testing
import WebSocketCodec

@testable import chat

@Suite struct CrowdTests {
    /// With one message for each member and event, this crowd would fill the mailbox of a loop.
    private static let size = 400

    private func crowd(_ server: TestServer) throws -> [TestPeer] {
        try (0..<Self.size).map { try SimulatedChat.join(server, "\($0)") }
    }

    @Test("all join in one turn, and each sees all that join later", arguments: [1, 2])
    func joins(_ loops: Int) throws {
        let server = try SimulatedChat.serve(loops: loops)
        let peers = try (0..<Self.size).map { _ in try SimulatedChat.visit(server) }
        server.network.together {
            for (number, peer) in peers.enumerated() { peer.send(ServerEvents.text("\(number)")) }
        }
        #expect(peers.allSatisfy { $0.end == .open })
        let lists = try peers.map { try SimulatedChat.events($0) }
        let first = try #require(lists.first { $0.count == Self.size })
        for (number, list) in lists.enumerated() {
            #expect(list.first == Told.joined("\(number)"))
            #expect(list.elementsEqual(first.suffix(list.count)), "\(number)")
        }
        try server.stop()
    }

    @Test("most leave in one turn, and the others stay and see each of them", arguments: [1, 2])
    func leaves(_ loops: Int) throws {
        let server = try SimulatedChat.serve(loops: loops)
        let peers = try crowd(server)
        let (leaving, staying) = (peers.prefix(300), peers.suffix(100))
        server.network.together { for peer in leaving { peer.close() } }
        #expect(server.connectionCount == 100)
        #expect(staying.allSatisfy { $0.end == .open })
        let names = Set((0..<300).map { Told.left("\($0)") })
        for peer in staying {
            let found = try SimulatedChat.events(peer).filter { $0.contains("left") }
            #expect(found.count == 300 && Set(found) == names)
        }
        try server.stop()
    }

    @Test("a stop closes each member with code 1001, and announces no leaving", arguments: [1, 2])
    func stop(_ loops: Int) throws {
        let server = try SimulatedChat.serve(loops: loops)
        let peers = try crowd(server)
        try server.stop()
        for (number, peer) in peers.enumerated() {
            let found = try SimulatedChat.events(peer)
            #expect(found.last == "close 1001 the server stops", "\(number)")
            #expect(peer.end == .closed && !found.contains { $0.contains("left") }, "\(number)")
        }
    }

    /// JSON writes each of these bytes as six, so the events have 2.4 MiB.
    @Test("the longest texts of a second come in one turn, and all members get them")
    func burst() throws {
        let server = try SimulatedChat.serve(loops: 2)
        let peers = try ["Ann", "Bob", "Eve"].map { try SimulatedChat.join(server, $0) }
        server.advance(by: .seconds(1))
        let text = ServerEvents.frame(.text, [UInt8](repeating: 0, count: 4096))
        server.network.together {
            for peer in peers.prefix(2) { for _ in 0..<50 { peer.send(text) } }
        }
        for peer in peers {
            #expect(peer.end == .open)
            #expect(try SimulatedChat.events(peer).count { $0.contains("message") } == 100)
        }
        try server.stop()
    }

    @Test("if too many events wait, only the author of the next one is closed")
    func backlog() throws {
        let server = try SimulatedChat.serve { $0.waitingBytes = 20_000 }
        let (ann, bob) = (
            try SimulatedChat.join(server, "Ann"), try SimulatedChat.join(server, "Bob")
        )
        server.advance(by: .seconds(1))
        let text = String(repeating: "x", count: 4096)
        ann.send((0..<10).flatMap { _ in ServerEvents.text(text) })
        #expect(try SimulatedChat.events(ann).last == "close 1013 too many messages wait")
        #expect(ann.end == .closed && bob.end == .open)
        let told = [Told.joined("Bob")] + Array(repeating: Told.message("Ann", text), count: 5)
        #expect(try SimulatedChat.events(bob) == told + [Told.left("Ann")])
        // The events are sent, so there is room again.
        bob.send(ServerEvents.text("hello"))
        #expect(try SimulatedChat.events(bob).last == Told.message("Bob", "hello"))
        try server.stop()
    }
}
