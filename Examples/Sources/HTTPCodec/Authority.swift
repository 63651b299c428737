// Who a request is for: a host and perhaps a port, in the Host field and in targets that are whole
// URIs (RFC 9110, 4.2.3 and 7.2). A user before an `@` belongs to no request.
import Glibc

enum Authority {
    /// Whether these bytes are a name, an IPv4 address, or another address in brackets; then
    /// perhaps a colon and a port, which may have no digits.
    @inline(never)
    static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let first = bytes.first else { return false }
        guard let end = first == Byte.openingBracket ? addressEnd(bytes) : nameEnd(bytes), end > 0
        else { return false }
        return end == bytes.count || bytes[end] == Byte.colon && isPort(bytes[(end + 1)...])
    }

    /// Digits, or nothing; as many zeros before as one likes, but no port that there is not.
    private static func isPort(_ digits: some Sequence<UInt8>) -> Bool {
        var port = 0
        for byte in digits {
            guard let digit = Byte.digit(byte) else { return false }
            port = port * 10 + digit
            if port > UInt16.max { return false }
        }
        return true
    }

    /// The same, with a port.
    static func hasPort(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let last = bytes.last, Byte.digit(last) != nil, isValid(bytes) else { return false }
        let digits = bytes.reversed().prefix { Byte.digit($0) != nil }.count
        return digits < bytes.count && bytes[bytes.count - digits - 1] == Byte.colon
    }

    /// A name may have bytes behind percent signs. Those of an address look like a name.
    private static func nameEnd(_ bytes: UnsafeRawBufferPointer) -> Int? {
        var index = 0
        while true {
            index = ByteSet.name.end(in: bytes, from: index, to: bytes.count)
            guard index < bytes.count, bytes[index] == Byte.percent else { return index }
            guard index + 2 < bytes.count, Byte.hexDigit(bytes[index + 1]) != nil,
                Byte.hexDigit(bytes[index + 2]) != nil
            else { return nil }
            index += 3
        }
    }

    /// Behind the closing bracket.
    private static func addressEnd(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard let end = bytes.firstIndex(of: Byte.closingBracket) else { return nil }
        let address = UnsafeRawBufferPointer(rebasing: bytes[1..<end])
        return isFutureAddress(address) || isAddress(address) ? end + 1 : nil
    }

    /// `v`, a version in hexadecimal, a dot, and something.
    private static func isFutureAddress(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let dot = bytes.firstIndex(of: Byte.dot), dot > 1, bytes[0] | 0x20 == 0x76,
            bytes[1..<dot].allSatisfy({ Byte.hexDigit($0) != nil }), dot + 1 < bytes.count
        else { return false }
        return bytes[(dot + 1)...].allSatisfy { ByteSet.name.contains($0) || $0 == Byte.colon }
    }

    /// Of IPv6, without a zone, which means nothing to another machine.
    private static func isAddress(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let longest = Int(INET6_ADDRSTRLEN)
        // A zero byte would end it early.
        guard bytes.count < longest, !bytes.contains(0) else { return false }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: longest) { text in
            for index in bytes.indices { text[index] = CChar(bitPattern: bytes[index]) }
            text[bytes.count] = 0
            var address = in6_addr()
            return inet_pton(AF_INET6, text.baseAddress!, &address) == 1
        }
    }
}
