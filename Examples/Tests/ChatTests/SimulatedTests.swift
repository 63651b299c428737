/// The handler without a socket: cuts, limits, silence, slow readers, faults and a stop.
import NetAPI
import NetAPITesting
import Testing
import WebSocketCodec

@testable import chat

@Suite struct SimulatedTests {
    private func serve(
        loops: Int = 1, on network: TestNetwork = TestNetwork(),
        _ change: (inout ChatSettings) -> Void = { _ in }
    ) throws -> TestServer {
        try SimulatedChat.serve(loops: loops, on: network, change)
    }

    private func join(_ server: TestServer, _ name: String) throws -> TestPeer {
        try SimulatedChat.join(server, name)
    }

    private func events(_ peer: TestPeer) throws -> [String] { try SimulatedChat.events(peer) }

    @Test("a conversation gets the same answers in every cut", arguments: [1, 2])
    func everyCutOfAConversation(_ loops: Int) throws {
        let server = try serve(loops: loops)
        let bytes =
            Array(ServerEvents.upgrade.utf8) + ServerEvents.text("Ann")
            + ServerEvents.frame(.ping, [0x78])
            + FrameWriter.frame(
                .text, "hel".utf8, isFinal: false, maskingKey: 7)
            + ServerEvents.frame(.pong) + ServerEvents.frame(.continuation, Array("lo".utf8))
        let expected = [Told.joined("Ann"), Told.message("Ann", "hello"), "pong x"]
        for cut in everyCut(of: bytes) {
            let peer = try server.connect()
            peer.send(cut)
            // Messages come by the loop's mailbox, so a pong may overtake them.
            let found = try events(peer).sorted()
            guard found == expected.sorted() else {
                Issue.record("\(cut): \(found)")
                break
            }
            peer.close()
        }
        try server.stop()
    }

    @Test("a page and a socket follow each other on one connection")
    func pipeline() throws {
        let server = try serve()
        let peer = try server.connect()
        peer.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + ServerEvents.upgrade)
        let lines = peer.received.lines
        #expect(lines.first == "HTTP/1.1 200 OK")
        #expect(lines.contains("HTTP/1.1 101 Switching Protocols"))
        #expect(lines.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
    }

    @Test("members on all loops get every message in one order", arguments: TestSeed.each(1...20))
    func order(_ seed: TestSeed) throws {
        let network = TestNetwork(seed: seed, faults: .lossless)
        let server = try serve(loops: network.random(in: 1...3), on: network)
        let peers = try (0..<4).map { try join(server, "\($0)") }
        network.together {
            for (number, peer) in peers.enumerated() {
                let bytes = (0..<5).flatMap { ServerEvents.text("\(number) \($0)") }
                peer.send(network.randomCut(of: TestBytes(bytes)))
            }
        }
        let messages = try peers.map { try events($0).filter { $0.contains("message") } }
        #expect(messages[0].count == 20)
        #expect(messages.allSatisfy { $0 == messages[0] })
        try server.stop()
    }

    @Test("each second, a visitor gets the counters and the backend")
    func statistics() throws {
        let server = try serve()
        let peer = try join(server, "Ann")
        server.advance(by: .milliseconds(3100))
        let texts = peer.received.text.ranges(of: #"{"kind":"statistics","backend":"#)
        #expect(texts.count == 4)
        #expect(peer.received.text.contains(#""loops":1,"members":1,"messages":0,"open":1,"#))
    }

    /// A first message, or frames after the name, with the close frame that they get.
    private static let closes: [(String, [UInt8], String)] = [
        ("binary", ServerEvents.frame(.binary), "close 1003 send text"),
        ("a close", ServerEvents.frame(.close, [3, 0xE9]), "close 1001 "),
        ("an empty close", ServerEvents.frame(.close), "close 0 "),
        ("an unmasked text", FrameWriter.frame(.text, []), "close 1002 "),
        ("bad UTF-8", ServerEvents.frame(.text, [0xFF]), "close 1007 "),
        (
            "a long text", ServerEvents.frame(.text, Array(repeating: 0x61, count: 4097)),
            "close 1009 "
        ),
        ("half a close code", ServerEvents.frame(.close, [3]), "close 1002 "),
        ("a bad close code", ServerEvents.frame(.close, [3, 0xEE]), "close 1002 "),
    ]

    @Test("a rule that is broken, or a close, is answered by its code")
    func codes() throws {
        let server = try serve()
        for (name, bytes, close) in Self.closes {
            let peer = try join(server, "Ann")
            peer.send(bytes + ServerEvents.text("after"))
            #expect(try events(peer) == [Told.joined("Ann"), close], "\(name)")
            #expect(peer.end == .closed, "\(name)")
        }
        #expect(server.connectionCount == 0)
    }

    @Test("a name has visible characters and spaces, and one member at a time")
    func names() throws {
        let server = try serve()
        for name in [
            "", "   ", "a\nb", String(repeating: "é", count: 17), "a\u{200B}", "a\u{A0}b",
            "a\u{85}", "\u{202E}a", "a\u{2028}b", "a\u{3000}b", "\u{E000}", "\u{378}", "a\u{7F}",
        ] {
            let close = "close 1008 a name has 1 to 32 printable bytes"
            let scalars = name.unicodeScalars.map { String($0.value, radix: 16) }
            #expect(try events(try join(server, name)) == [close], "\(scalars)")
        }
        let members = try ["Ann Lee", "κόσμε", "👍🏽", "日本", "e\u{301}"].map { name in
            let peer = try join(server, name)
            #expect(try events(peer).first == Told.joined(name))
            return peer
        }
        #expect(try events(try join(server, "Ann Lee")) == ["close 1008 the name is taken"])
        // Unicode defines this text and a name above as the same.
        #expect(try events(try join(server, "\u{E9}")) == ["close 1008 the name is taken"])
        members[0].close()
        #expect(try events(try join(server, "Ann Lee")).first == Told.joined("Ann Lee"))
    }

    @Test("a socket without a name is closed after its time, and a silent member is not")
    func nameless() throws {
        let server = try serve { $0.headTimeout = .seconds(10) }
        let (visitor, ann) = (try SimulatedChat.visit(server), try join(server, "Ann"))
        // Frames without a name do not help.
        for second in 1...9 {
            server.network.after(.seconds(second)) { visitor.send(ServerEvents.frame(.ping)) }
        }
        server.advance(by: .seconds(9))
        #expect(visitor.end == .open)
        server.advance(by: .seconds(2))
        #expect(try events(visitor).last == "close 1008 no name came in time")
        #expect(visitor.end == .closed && ann.end == .open)
    }

    @Test("the answer to HEAD has no body, so the next answer follows its head")
    func headOfSocket() throws {
        let server = try serve()
        let peer = try server.connect()
        peer.send("HEAD /ws HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(peer.received.lines.first == "HTTP/1.1 405 Method Not Allowed")
        #expect(peer.received.text.contains("\r\n\r\nHTTP/1.1 200 OK\r\n"))
    }

    @Test("texts are escaped in the events")
    func escapes() throws {
        let server = try serve()
        let peer = try join(server, #"A"n\n"#)
        peer.send(ServerEvents.text("\u{0}\n</script>\u{1F}é"))
        let text = #"\u0000\u000a</script>\u001fé"#
        #expect(
            try events(peer) == [Told.joined(#"A\"n\\n"#), Told.message(#"A\"n\\n"#, text)])
    }

    @Test("a full room and too many frames in a second are refused")
    func limits() throws {
        let server = try serve {
            $0.members = 2
            $0.framesPerSecond = 10
        }
        let (ann, _) = (try join(server, "Ann"), try join(server, "Bob"))
        #expect(try events(try join(server, "Eve")) == ["close 1013 the room is full"])
        for _ in 0..<3 {
            server.advance(by: .seconds(1))
            for number in 0..<10 { ann.send(ServerEvents.text("\(number)")) }
        }
        #expect(ann.end == .open)
        ann.send(ServerEvents.frame(.ping))
        #expect(try events(ann).last == "close 1008 too many frames in a second")
        #expect(ann.end == .closed)
        // The room has a place again.
        #expect(try events(try join(server, "Eve")) == [Told.joined("Eve")])
    }

    @Test("a silent peer gets a ping, and is closed if it does not answer")
    func silence() throws {
        let server = try serve { $0.pingInterval = .seconds(20) }
        let (alive, dead) = (try join(server, "Ann"), try join(server, "Bob"))
        alive.onReceive { peer, _ in peer.send(ServerEvents.frame(.pong)) }
        server.advance(by: .seconds(39))
        #expect(dead.end == .open)
        #expect(try events(dead).filter { $0.hasPrefix("ping") } == [])
        server.advance(by: .seconds(2))
        #expect(try events(dead).filter { $0.hasPrefix("ping") } == ["ping "])
        server.advance(by: .seconds(20))
        #expect(dead.end == .reset && alive.end == .open)
        #expect(try events(alive).last == Told.left("Bob"))
    }

    @Test("a request that does not end is refused after its time, byte by byte or not")
    func slowHead() throws {
        let server = try serve { $0.headTimeout = .seconds(10) }
        let (silent, idle, dripping) = (
            try server.connect(), try server.connect(), try server.connect()
        )
        silent.send("GET / HTTP/1.1\r\n")
        dripping.send("GET /")
        for second in 1...20 { server.network.after(.seconds(second)) { dripping.send("x") } }
        server.advance(by: .seconds(9))
        #expect(silent.end == .open && idle.end == .open)
        server.advance(by: .seconds(2))
        #expect(silent.received.lines.first == "HTTP/1.1 408 Request Timeout")
        #expect(dripping.received.lines.first == "HTTP/1.1 408 Request Timeout")
        #expect(idle.received.isEmpty)
        #expect([silent, idle, dripping].allSatisfy { $0.end == .closed })
    }

    @Test("a slow reader is disconnected at its limit, and the others get every message")
    func slowReader() throws {
        let server = try serve(loops: 2) { $0.unreadBytes = 16 << 10 }
        let peers = try ["Ann", "Bob", "Eve"].map { try join(server, $0) }
        peers[1].stall()
        let text = String(repeating: "x", count: 1000)
        for _ in 0..<40 { peers[0].send(ServerEvents.text(text)) }
        #expect(server.closes == [.outboundOverflow])
        for peer in [peers[0], peers[2]] {
            let found = try events(peer)
            #expect(found.count { $0.contains("message") } == 40)
            #expect(found.last { $0.contains("left") } == Told.left("Bob"))
        }
    }

    @Test("a peer that goes without a close frame leaves the room", arguments: [1, 2])
    func gone(_ loops: Int) throws {
        let server = try serve(loops: loops)
        let ann = try join(server, "Ann")
        try join(server, "Bob").finish()
        try join(server, "Eve").reset()
        let found = try events(ann).filter { $0.contains("left") }
        #expect(found == [Told.left("Bob"), Told.left("Eve")])
        #expect(server.connectionCount == 1)
    }

    @Test("a stop closes each socket with code 1001, within a second", arguments: [1, 2])
    func stop(_ loops: Int) throws {
        let server = try serve(loops: loops)
        let peers = try ["Ann", "Bob"].map { try join(server, $0) }
        let (visitor, reader) = (try server.connect(), try server.connect())
        visitor.send(ServerEvents.upgrade)
        let time = try server.stop()
        for peer in peers + [visitor] {
            #expect(try events(peer).last == "close 1001 the server stops")
            #expect(peer.end == .closed)
        }
        #expect(reader.received.isEmpty && reader.end == .closed)
        #expect(time < .seconds(1), "\(time)")
    }

    @Test("under faults of the network, a member sees a beginning of the truth")
    func faults() throws {
        try TestNetwork.seeds(1...30, faults: .all) { network in
            let server = try serve(loops: network.random(in: 1...2), on: network)
            for number in 0..<4 {
                guard let peer = try? server.connect() else { continue }
                let bytes =
                    Array(ServerEvents.upgrade.utf8) + ServerEvents.text("\(number)")
                    + (0..<5).flatMap { ServerEvents.text("\($0)") }
                peer.send(network.randomCut(of: TestBytes(bytes)))
                server.advance(by: .milliseconds(network.random(in: 0...300)))
                try network.require(
                    !events(peer).contains { $0.hasPrefix("failed") }, "a broken frame")
            }
            try server.stop()
        }
    }
}
