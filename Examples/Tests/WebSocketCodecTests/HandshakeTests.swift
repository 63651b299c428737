/// Handshakes, good and bad, with the status that each gets.
import HTTPCodec
import Testing
import WebSocketCodec

struct HandshakeRow: Sendable, CustomStringConvertible {
    let description: String
    let head: String
    let status: Status

    /// A request with the usual fields but for those that `fields` replaces; an empty one is left
    /// out.
    init(
        _ description: String, _ fields: [String: String] = [:], more: String = "",
        line: String = "GET /ws HTTP/1.1", gets status: Status
    ) {
        self.description = description
        var head = line + "\r\n"
        for (name, usual) in Self.usual {
            let value = fields[name] ?? usual
            if !value.isEmpty { head += "\(name): \(value)\r\n" }
        }
        self.head = head + more + "\r\n"
        self.status = status
    }

    private static let usual = [
        ("Host", "a"), ("Upgrade", "websocket"), ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13"),
    ]

    static let rows = [
        HandshakeRow("the example of the RFC", gets: .switchingProtocols),
        HandshakeRow(
            "Firefox's Connection", ["Connection": "keep-alive, Upgrade"], gets: .switchingProtocols
        ),
        HandshakeRow(
            "any case, and blanks", ["Connection": "UPGRADE\t,x", "Upgrade": "WebSocket "],
            gets: .switchingProtocols),
        HandshakeRow(
            "names in lower case", ["Sec-WebSocket-Key": "", "Upgrade": ""],
            more: "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nupgrade: websocket\r\n",
            gets: .switchingProtocols),
        HandshakeRow(
            "Connection on two lines", ["Connection": "keep-alive"],
            more: "Connection: Upgrade\r\n", gets: .switchingProtocols),
        HandshakeRow(
            "another protocol too", ["Upgrade": "h2c, websocket"], gets: .switchingProtocols),
        HandshakeRow(
            "extensions and subprotocols, none of which is agreed",
            more: "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
                + "Sec-WebSocket-Protocol: chat, superchat\r\n", gets: .switchingProtocols),
        HandshakeRow(
            "a body of no bytes", more: "Content-Length: 0\r\n", gets: .switchingProtocols),
        HandshakeRow("the own origin", more: "Origin: https://a\r\n", gets: .switchingProtocols),
        HandshakeRow("another origin", more: "Origin: https://elsewhere\r\n", gets: .forbidden),
        HandshakeRow(
            "no upgrade at all", ["Upgrade": "", "Connection": ""], gets: .upgradeRequired),
        HandshakeRow("no Upgrade", ["Upgrade": ""], gets: .upgradeRequired),
        HandshakeRow("another Upgrade", ["Upgrade": "h2c"], gets: .upgradeRequired),
        HandshakeRow("a longer Upgrade", ["Upgrade": "websockets"], gets: .upgradeRequired),
        HandshakeRow("no Connection", ["Connection": ""], gets: .upgradeRequired),
        HandshakeRow("another Connection", ["Connection": "keep-alive"], gets: .upgradeRequired),
        HandshakeRow("a longer Connection", ["Connection": "Upgraded"], gets: .upgradeRequired),
        HandshakeRow("an old version", ["Sec-WebSocket-Version": "8"], gets: .upgradeRequired),
        HandshakeRow("a later version", ["Sec-WebSocket-Version": "14"], gets: .upgradeRequired),
        HandshakeRow("versions", ["Sec-WebSocket-Version": "13, 8"], gets: .upgradeRequired),
        HandshakeRow("no version", ["Sec-WebSocket-Version": ""], gets: .upgradeRequired),
        HandshakeRow("two versions", more: "Sec-WebSocket-Version: 13\r\n", gets: .badRequest),
        HandshakeRow("no key", ["Sec-WebSocket-Key": ""], gets: .badRequest),
        HandshakeRow(
            "a key of 15 bytes", ["Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25j"], gets: .badRequest),
        HandshakeRow(
            "a key of 18 bytes", ["Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZWFi"],
            gets: .badRequest),
        HandshakeRow(
            "a key of other characters", ["Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZ-=="],
            gets: .badRequest),
        HandshakeRow(
            "a key without its end", ["Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ"],
            gets: .badRequest),
        HandshakeRow(
            "padding within a key", ["Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25j=Q=="],
            gets: .badRequest),
        HandshakeRow(
            "a long key", ["Sec-WebSocket-Key": String(repeating: "A", count: 4000) + "=="],
            gets: .badRequest),
        HandshakeRow(
            "two keys", more: "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", gets: .badRequest),
        HandshakeRow("a body", more: "Content-Length: 5\r\n", gets: .badRequest),
        HandshakeRow("a chunked body", more: "Transfer-Encoding: chunked\r\n", gets: .badRequest),
        HandshakeRow("HTTP/1.0", line: "GET /ws HTTP/1.0", gets: .badRequest),
        HandshakeRow("no Host", ["Host": ""], gets: .badRequest),
        HandshakeRow("two Hosts", more: "Host: b\r\n", gets: .badRequest),
        HandshakeRow("POST", line: "POST /ws HTTP/1.1", gets: .methodNotAllowed),
        HandshakeRow("HEAD", line: "HEAD /ws HTTP/1.1", gets: .methodNotAllowed),
        HandshakeRow("HTTP/2.0", line: "GET /ws HTTP/2.0", gets: .versionNotSupported),
    ]
}

@Suite struct HandshakeTests {
    /// Returns the decision about a head, which the parser gets in two pieces.
    private func decide(
        _ head: String, cut: Int = 0, origins: OriginRule = .sameHost
    ) -> Handshake {
        var parser = RequestParser()
        let bytes = Array(head.utf8)
        return bytes.withUnsafeBytes { bytes in
            // A refused head is not parsed again.
            let first = UnsafeRawBufferPointer(rebasing: bytes[..<cut])
            if case .refused(let status) = parser.parse(first) { return .refused(status) }
            switch parser.parse(bytes) {
            case .needsMore: return .refused(.requestTimeout)
            case .refused(let status): return .refused(status)
            case .complete(let count):
                let head = UnsafeRawBufferPointer(rebasing: bytes[..<count])
                return Handshake(parser.head, head, origins: origins)
            }
        }
    }

    private static let answer = Handshake.accepted(Array("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".utf8))

    @Test("a handshake gets its status in every cut", arguments: HandshakeRow.rows)
    func rows(_ row: HandshakeRow) {
        let expected =
            row.status == .switchingProtocols ? Self.answer : Handshake.refused(row.status)
        let places = row.head.utf8.count <= 1000 ? Array(0..<row.head.utf8.count) : [0]
        for cut in places {
            let found = decide(row.head, cut: cut)
            guard found == expected else {
                Issue.record("cut at \(cut): \(found)")
                return
            }
        }
        // An empty line may precede a request.
        #expect(decide("\r\n" + row.head) == expected)
        // Bytes behind the head belong to the frames.
        #expect(decide(row.head + "Sec-WebSocket-Version: 8\r\n\r\n") == expected)
    }

    @Test("with a list of origins, pages of other origins are refused")
    func origins() {
        let allowed = ["https://example.org", "http://localhost:9000"]
        func status(_ more: String) -> Handshake {
            decide(HandshakeRow("", more: more, gets: .ok).head, origins: .listed(allowed))
        }
        #expect(status("") == Self.answer)
        #expect(status("Origin: https://example.org\r\n") == Self.answer)
        #expect(status("origin:http://localhost:9000\r\n") == Self.answer)
        for origin in [
            "http://example.org", "https://example.org.evil", "https://example.org:444", "null", "",
            "https://example.org, https://evil", "HTTPS://example.org/",
        ] {
            #expect(status("Origin: \(origin)\r\n") == .refused(.forbidden), "\(origin)")
        }
        let two = "Origin: https://example.org\r\nOrigin: https://example.org\r\n"
        #expect(status(two) == .refused(.forbidden))
    }

    @Test("without a list, the origin has the host and the port of Host")
    func sameHost() {
        func status(_ host: String, _ more: String, _ rule: OriginRule = .sameHost) -> Handshake {
            decide(HandshakeRow("", ["Host": host], more: more, gets: .ok).head, origins: rule)
        }
        for (host, origin) in [
            ("a", "http://a"), ("a", "https://a"), ("A.org", "https://a.org"),
            ("a:9000", "http://a:9000"), ("[::1]:9000", "http://[::1]:9000"),
        ] {
            #expect(status(host, "Origin: \(origin)\r\n") == Self.answer, "\(origin)")
        }
        for origin in [
            "http://b", "http://a:9000", "http://a.evil", "http://evil/a", "http://evil://a",
            "http://a/", "http://me@a", "null", "", "a", "://", "http://",
        ] {
            let more = "Origin: \(origin)\r\n"
            #expect(status("a", more) == .refused(.forbidden), "\(origin)")
            #expect(status("a", more, .any) == Self.answer, "\(origin)")
        }
        #expect(status("a", "") == Self.answer)
        let two = "Origin: http://a\r\nOrigin: http://a\r\n"
        #expect(status("a", two) == .refused(.forbidden))
    }
}
