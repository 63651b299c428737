/// The PROXY protocol's headers as rows, each cut at every place.
import Testing

@testable import MillraceEventLoop

@Suite struct ProxyHeaderTests {
    struct Row: CustomTestStringConvertible {
        let testDescription: String
        let bytes: [UInt8]
        let result: ProxyHeader.Parsed

        init(_ name: String, _ bytes: [UInt8], _ client: String?, _ server: String? = nil) {
            func address(_ text: String) -> SocketAddress? {
                let words = text.split(separator: " ").map(String.init)
                return SocketAddress(host: words[0], port: UInt16(words[1]) ?? 0)
            }
            self.init(
                name, bytes,
                ProxyHeader(
                    client: client.flatMap(address), server: server.flatMap(address)))
        }

        init(_ name: String, _ bytes: [UInt8], _ header: ProxyHeader) {
            testDescription = name
            self.bytes = bytes
            result = .header(header, count: bytes.count)
        }

        init(_ name: String, _ bytes: [UInt8], fault: String) {
            testDescription = name
            self.bytes = bytes
            result = .invalid(.malformed(fault))
        }
    }

    private static func line(_ text: String) -> [UInt8] { Array((text + "\r\n").utf8) }

    private static func binary(
        _ family: UInt8, _ body: [UInt8], command: UInt8 = 0x21, size: Int? = nil
    ) -> [UInt8] {
        let size = size ?? body.count
        return Array("\r\n\r\n\0\r\nQUIT\n".utf8)
            + [command, family, UInt8(size >> 8), UInt8(size & 255)] + body
    }

    private static let v4: [UInt8] = [192, 0, 2, 1, 198, 51, 100, 2, 0x30, 0x39, 0x01, 0xBB]
    private static let v6: [UInt8] =
        [0x20, 0x01, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11) + [1]
        + [0x20, 0x01, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11) + [2]
        + [0x30, 0x39, 0x01, 0xBB]

    private static func unix(_ first: String, _ second: String) -> [UInt8] {
        [first, second].flatMap { name in
            Array(name.utf8) + [UInt8](repeating: 0, count: 108 - name.utf8.count)
        }
    }

    static let headers = [
        Row(
            "a line with IPv4", line("PROXY TCP4 192.0.2.1 198.51.100.2 12345 443"),
            "192.0.2.1 12345", "198.51.100.2 443"),
        Row(
            "a line with IPv6", line("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535"),
            "2001:db8::1 1", "2001:db8::2 65535"),
        Row(
            "IPv4 in a line of IPv6", line("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2"),
            "192.0.2.1 1", "192.0.2.2 2"),
        Row("a line of unknown addresses", line("PROXY UNKNOWN"), nil),
        Row(
            "the longest line",
            line("PROXY UNKNOWN " + String(repeating: "f", count: 107 - 16)), nil),
        Row("binary IPv4", binary(0x11, v4), "192.0.2.1 12345", "198.51.100.2 443"),
        Row(
            "binary IPv4 of a client's datagrams", binary(0x12, v4), "192.0.2.1 12345",
            "198.51.100.2 443"),
        Row("binary IPv6", binary(0x21, v6), "2001:db8::1 12345", "2001:db8::2 443"),
        Row(
            "binary Unix names", binary(0x31, unix("/tmp/a", "\0b")),
            ProxyHeader(
                client: .unix("/tmp/a", abstract: false), server: .unix("b", abstract: true))),
        Row(
            "a Unix client without a name", binary(0x31, unix("", "/b")),
            ProxyHeader(client: nil, server: .unix("/b", abstract: false))),
        Row("a health check", binary(0x00, [], command: 0x20), nil),
        Row("a health check with addresses, to be ignored", binary(0x11, v4, command: 0x20), nil),
        Row("an unknown family", binary(0x00, []), nil),
        Row("an unknown family with bytes of an unknown form", binary(0x00, [9, 9]), nil),
        Row(
            "extensions", binary(0x11, v4 + [0x01, 0, 2, 0x68, 0x32, 0x04, 0, 0]),
            "192.0.2.1 12345", "198.51.100.2 443"),
        Row(
            "a checksum", binary(0x11, v4 + [0x03, 0, 4] + checksum()),
            "192.0.2.1 12345", "198.51.100.2 443"),
        Row(
            "the longest binary header",
            binary(0x00, [0x04, 0x0F, 0xFD] + [UInt8](repeating: 0, count: 4093)), nil),
    ]

    /// Computed apart from the library: by a table of 256 entries, as most programs do.
    private static func checksum(and more: Int = 0) -> [UInt8] {
        let table = (UInt32(0)..<256).map { index in
            (0..<8).reduce(index) { sum, _ in sum & 1 == 0 ? sum >> 1 : sum >> 1 ^ 0x82F6_3B78 }
        }
        let bytes = binary(0x11, v4 + [0x03, 0, 4, 0, 0, 0, 0] + second.prefix(more))
        let sum = ~bytes.reduce(UInt32.max) { sum, byte in
            table[Int(UInt8(truncatingIfNeeded: sum) ^ byte)] ^ sum >> 8
        }
        return (0..<4).map { UInt8(truncatingIfNeeded: sum >> (24 - 8 * $0)) }
    }

    private static let second: [UInt8] = [0x03, 0, 4, 1, 2, 3, 4]

    private static func addresses(_ kind: String) -> String {
        "addresses that are not those of \(kind)"
    }

    static let faults = [
        Row("IPv6 as IPv4", line("PROXY TCP4 ::1 ::1 1 2"), fault: addresses("TCP4")),
        Row("IPv4 as IPv6", line("PROXY TCP6 127.0.0.1 127.0.0.1 1 2"), fault: addresses("TCP6")),
        Row("a zone", line("PROXY TCP6 fe80::1%lo fe80::2 1 2"), fault: addresses("TCP6")),
        Row("a name", line("PROXY TCP4 localhost 127.0.0.1 1 2"), fault: addresses("TCP4")),
        Row(
            "a port above the highest", line("PROXY TCP4 127.0.0.1 127.0.0.1 65536 2"),
            fault: addresses("TCP4")),
        Row(
            "a port with a sign", line("PROXY TCP4 127.0.0.1 127.0.0.1 +1 2"),
            fault: addresses("TCP4")),
        Row(
            "two spaces", line("PROXY TCP4  127.0.0.1 127.0.0.1 1 2"), fault: addresses("TCP4")),
        Row("a word too much", line("PROXY TCP4 1.1.1.1 1.1.1.1 1 2 3"), fault: addresses("TCP4")),
        Row(
            "another transport", line("PROXY UDP4 127.0.0.1 127.0.0.1 1 2"),
            fault: "a transport that is not TCP4, TCP6 or UNKNOWN"),
        Row(
            "a bare line feed", Array("PROXY UNKNOWN\n".utf8),
            fault: "a line that does not end with CR LF"),
        Row(
            "a line without an end", line("PROXY " + String(repeating: "f", count: 100)),
            fault: "a line of more than 107 bytes"),
        Row(
            "another version", binary(0x11, v4, command: 0x11),
            fault: "version and command 17, not 32 or 33"
        ),
        Row(
            "another command", binary(0x11, v4, command: 0x22),
            fault: "version and command 34, not 32 or 33"
        ),
        Row("another family", binary(0x41, v4), fault: "address family and transport 65"),
        Row("addresses cut short", binary(0x21, v4), fault: "12 bytes for addresses of 36"),
        Row("a cut extension", binary(0x11, v4 + [1, 0]), fault: "a cut extension"),
        Row(
            "an extension beyond the end", binary(0x11, v4 + [1, 0, 9, 1]), fault: "a cut extension"
        ),
        Row(
            "a wrong checksum", binary(0x11, v4 + [0x03, 0, 4, 1, 2, 3, 4]),
            fault: "a wrong checksum"),
        Row(
            "two checksums", binary(0x11, v4 + [0x03, 0, 4] + checksum(and: 7) + second),
            fault: "two checksums"),
        Row(
            "a checksum of another length", binary(0x11, v4 + [0x03, 0, 2, 1, 2]),
            fault: "a checksum of 2 bytes"),
        Row(
            "more than the longest", binary(0x00, [], size: 4097),
            fault: "4113 bytes, of at most 4112"),
        Row(
            "the most that can be announced", binary(0x11, [], size: 65_535),
            fault: "65551 bytes, of at most 4112"),
    ]

    @Test("a header is complete at its last byte, and takes none behind it", arguments: headers)
    func header(_ row: Row) {
        for end in 0..<row.bytes.count { #expect(parse(row.bytes.prefix(end)) == .incomplete) }
        #expect(parse(row.bytes[...]) == row.result)
        #expect(parse(row.bytes + [0x0A, 0x47]) == row.result)
        #expect(row.bytes.count <= ProxyHeader.longest)
    }

    @Test("a wrong header is refused with its fault", arguments: faults)
    func fault(_ row: Row) {
        #expect(parse(row.bytes[...]) == row.result)
        // No cut makes it right.
        for end in 0..<row.bytes.count {
            if case .header = parse(row.bytes.prefix(end)) { Issue.record("cut at \(end)") }
        }
    }

    @Test(
        "another protocol is told by its first byte",
        arguments: [
            "G", "GET / HTTP/1.1\r\n", "\u{16}\u{3}\u{1}", "PROXX TCP4", "\r\n\r\nX", "proxy",
        ])
    func otherProtocol(_ text: String) {
        let bytes = Array(text.utf8)
        #expect(parse(bytes[...]) == .invalid(.otherProtocol(Array(bytes.prefix(4)))))
    }

    @Test("the error says what came instead, and the remedy")
    func error() {
        #expect(
            "\(ProxyHeaderError.otherProtocol([0x47, 0x45, 0x54, 0x20]))"
                == "no PROXY header, but bytes that begin with hexadecimal 47 45 54 20: "
                + "let the proxy send one, or listen without ?proxy")
    }

    private func parse(_ bytes: ArraySlice<UInt8>) -> ProxyHeader.Parsed {
        bytes.withUnsafeBytes(ProxyHeader.parse)
    }
}
