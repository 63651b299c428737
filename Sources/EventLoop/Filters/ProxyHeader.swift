/// The header of the PROXY protocol: a proxy tells a server the addresses of the connection that it
/// passes on, before the connection's own bytes.
///
/// Versions 1 (a line of text) and 2 (binary) of HAProxy's specification, section 2. Extensions of
/// version 2 are checked and skipped.
package struct ProxyHeader: Equatable, Sendable {
    /// The client's address; nil for a connection of the proxy itself, such as a health check, or
    /// if the proxy does not know it.
    package var client: SocketAddress?
    /// The address that the client has connected to.
    package var server: SocketAddress?

    package init(client: SocketAddress? = nil, server: SocketAddress? = nil) {
        self.client = client
        self.server = server
    }

    package enum Parsed: Equatable {
        case incomplete
        case header(ProxyHeader, count: Int)
        /// Not a header, and no further bytes can make it one.
        case invalid(ProxyHeaderError)
    }

    /// The length of the longest header. Proxies send some hundred bytes, more only with the
    /// client's certificate in an extension.
    package static var longest: Int { prefixCount + 4096 }
    /// The longest line of version 1, with its end.
    private static var longestLine: Int { 107 }
    /// The part of version 2 before the addresses.
    private static var prefixCount: Int { 16 }
    private static var lineStart: [UInt8] { Array("PROXY ".utf8) }
    private static var signature: [UInt8] { Array("\r\n\r\n\0\r\nQUIT\n".utf8) }

    package static func parse(_ bytes: UnsafeRawBufferPointer) -> Parsed {
        if begins(bytes, with: signature) { return parseBinary(bytes) }
        if begins(bytes, with: lineStart) { return parseLine(bytes) }
        return .invalid(.otherProtocol(Array(bytes.prefix(4))))
    }

    /// Whether the bytes begin with `start`, or may when more have come.
    private static func begins(_ bytes: UnsafeRawBufferPointer, with start: [UInt8]) -> Bool {
        zip(bytes, start).allSatisfy { $0 == $1 }
    }

    // MARK: Version 1

    private static func parseLine(_ bytes: UnsafeRawBufferPointer) -> Parsed {
        let line = bytes.prefix(longestLine)
        guard let end = line.firstIndex(of: 0x0A) else {
            return bytes.count < longestLine
                ? .incomplete : .invalid(.malformed("a line of more than \(longestLine) bytes"))
        }
        guard end > 0, line[end - 1] == 0x0D else {
            return .invalid(.malformed("a line that does not end with CR LF"))
        }
        let words = line[..<(end - 1)].split(separator: 0x20, omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        let count = end + 1
        guard words.count > 1, words[0] == "PROXY" else {
            return .invalid(.malformed("a line without a transport"))
        }
        switch words[1] {
        case "UNKNOWN": return .header(ProxyHeader(), count: count)
        case "TCP4", "TCP6":
            guard words.count == 6,
                let client = address(words[2], port: words[4], isV6: words[1] == "TCP6"),
                let server = address(words[3], port: words[5], isV6: words[1] == "TCP6")
            else {
                return .invalid(.malformed("addresses that are not those of \(words[1])"))
            }
            return .header(ProxyHeader(client: client, server: server), count: count)
        default: return .invalid(.malformed("a transport that is not TCP4, TCP6 or UNKNOWN"))
        }
    }

    private static func address(_ host: String, port: String, isV6: Bool) -> SocketAddress? {
        guard (1...5).contains(port.utf8.count),
            port.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(port),
            // A zone is this machine's, and means nothing to another.
            !host.utf8.contains(0x25), let address = SocketAddress(host: host, port: port)
        else { return nil }
        // IPv4 in the form of IPv6 reads like that of another listener.
        if case .v6 = address { return isV6 ? address.unmapped : nil }
        return isV6 ? nil : address
    }

    // MARK: Version 2

    private static func parseBinary(_ bytes: UnsafeRawBufferPointer) -> Parsed {
        guard bytes.count >= prefixCount else { return .incomplete }
        let (command, family) = (bytes[12], bytes[13])
        guard command == 0x20 || command == 0x21 else {
            return .invalid(.malformed("version and command \(command), not 32 or 33"))
        }
        let size = Int(bytes[14]) << 8 | Int(bytes[15])
        let count = prefixCount + size
        guard count <= longest else {
            return .invalid(.malformed("\(count) bytes, of at most \(longest)"))
        }
        guard bytes.count >= count else { return .incomplete }
        // The proxy's own connection: the addresses are to be ignored.
        guard command == 0x21 else { return .header(ProxyHeader(), count: count) }
        let header = UnsafeRawBufferPointer(rebasing: bytes[..<count])
        let body = UnsafeRawBufferPointer(rebasing: header[prefixCount...])
        let addresses: Int
        var result = ProxyHeader()
        switch family {
        case 0x00: addresses = 0
        case 0x11, 0x12: addresses = 12
        case 0x21, 0x22: addresses = 36
        case 0x31, 0x32: addresses = 216
        default: return .invalid(.malformed("address family and transport \(family)"))
        }
        guard size >= addresses else {
            return .invalid(.malformed("\(size) bytes for addresses of \(addresses)"))
        }
        switch addresses {
        case 12:
            result.client = .v4(IPv4Bytes(body.word(at: 0)), port: body.port(at: 8))
            result.server = .v4(IPv4Bytes(body.word(at: 4)), port: body.port(at: 10))
        case 36:
            result.client = .v6(body.host(at: 0), port: body.port(at: 32), scope: 0).unmapped
            result.server = .v6(body.host(at: 16), port: body.port(at: 34), scope: 0).unmapped
        case 216:
            result.client = body.path(at: 0)
            result.server = body.path(at: 108)
        default: break
        }
        // Behind addresses of an unknown family, whose length is unknown too, no extension can be
        // found.
        if addresses > 0, let fault = faultOfExtensions(in: header, from: prefixCount + addresses) {
            return .invalid(.malformed(fault))
        }
        return .header(result, count: count)
    }

    /// Extensions have a type, a length in two bytes, and a value. A checksum must be right.
    private static func faultOfExtensions(
        in header: UnsafeRawBufferPointer, from start: Int
    ) -> String? {
        var place = start
        var hasChecksum = false
        while place < header.count {
            guard header.count - place >= 3 else { return "a cut extension" }
            let size = Int(header[place + 1]) << 8 | Int(header[place + 2])
            let (type, value) = (header[place], place + 3)
            guard header.count - value >= size else { return "a cut extension" }
            if type == 0x03 {
                guard !hasChecksum else { return "two checksums" }
                hasChecksum = true
                guard size == 4 else { return "a checksum of \(size) bytes" }
                let given = UInt32(bigEndian: header.word(at: value))
                guard checksum(of: header, without: value..<value + 4) == given else {
                    return "a wrong checksum"
                }
            }
            place = value + size
        }
        return nil
    }

    /// Returns the CRC-32C of the bytes, with zeros in place of the checksum itself.
    private static func checksum(
        of bytes: UnsafeRawBufferPointer, without own: Range<Int>
    ) -> UInt32 {
        var sum = UInt32.max
        for (index, byte) in bytes.enumerated() {
            sum ^= own.contains(index) ? 0 : UInt32(byte)
            for _ in 0..<8 { sum = sum & 1 == 0 ? sum >> 1 : sum >> 1 ^ 0x82F6_3B78 }
        }
        return ~sum
    }
}

/// The reason why a connection behind a proxy is refused.
package enum ProxyHeaderError: Error, Equatable, CustomStringConvertible {
    /// The first bytes of the connection, at most four.
    case otherProtocol([UInt8])
    case malformed(String)

    package var description: String {
        switch self {
        case .otherProtocol(let bytes):
            let digits = bytes.map { String($0, radix: 16) }.joined(separator: " ")
            return
                "no PROXY header, but bytes that begin with hexadecimal \(digits): "
                + "let the proxy send one, or listen without ?proxy"
        case .malformed(let fault): return "a PROXY header with \(fault)"
        }
    }
}

extension UnsafeRawBufferPointer {
    fileprivate func word(at offset: Int) -> UInt32 {
        loadUnaligned(fromByteOffset: offset, as: UInt32.self)
    }

    fileprivate func port(at offset: Int) -> UInt16 {
        UInt16(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }

    fileprivate func host(at offset: Int) -> IPv6Bytes {
        IPv6Bytes(
            high: loadUnaligned(fromByteOffset: offset, as: UInt64.self),
            low: loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self))
    }

    /// A Unix name in 108 bytes; nil if it has none.
    fileprivate func path(at offset: Int) -> SocketAddress? {
        let field = self[offset..<offset + 108]
        let isAbstract = field.first == 0
        let name = (isAbstract ? field.dropFirst() : field).prefix { $0 != 0 }
        guard !name.isEmpty else { return nil }
        return .unix(String(decoding: name, as: UTF8.self), abstract: isAbstract)
    }
}
