// The authority of a request is a host and an optional port. It stands in the Host field and in
// targets that are whole URIs (RFC 9110, 4.2.3 and 7.2). A user name before an `@` is refused.
import Glibc

enum Authority {
    /// Returns whether the bytes are a name, an IPv4 address, or another address in brackets. A
    /// colon and a port may follow, and the port may have no digits.
    @inline(never)
    static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let first = bytes.first else { return false }
        guard let end = first == Byte.openingBracket ? addressEnd(bytes) : nameEnd(bytes), end > 0
        else { return false }
        return end == bytes.count || bytes[end] == Byte.colon && isPort(bytes[(end + 1)...])
    }

    /// Returns whether `digits` is empty or a number of at most 65535. Leading zeros are allowed.
    private static func isPort(_ digits: some Sequence<UInt8>) -> Bool {
        var port = 0
        for byte in digits {
            guard let digit = Byte.digit(byte) else { return false }
            port = port * 10 + digit
            if port > UInt16.max { return false }
        }
        return true
    }

    /// Like `isValid(_:)`, but a port with at least one digit is required.
    static func hasPort(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let last = bytes.last, Byte.digit(last) != nil, isValid(bytes) else { return false }
        let digits = bytes.reversed().prefix { Byte.digit($0) != nil }.count
        return digits < bytes.count && bytes[bytes.count - digits - 1] == Byte.colon
    }

    /// Returns the index after the host name; nil if a percent escape is malformed. An IPv4 address
    /// counts as a name.
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

    /// Returns the index after the closing bracket; nil if the brackets hold no valid address.
    private static func addressEnd(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard let end = bytes.firstIndex(of: Byte.closingBracket) else { return nil }
        let address = UnsafeRawBufferPointer(rebasing: bytes[1..<end])
        return isFutureAddress(address) || isAddress(address) ? end + 1 : nil
    }

    /// Returns whether the bytes are `v`, a version in hexadecimal, a dot, and at least one more
    /// byte.
    private static func isFutureAddress(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let dot = bytes.firstIndex(of: Byte.dot), dot > 1, bytes[0] | 0x20 == 0x76,
            bytes[1..<dot].allSatisfy({ Byte.hexDigit($0) != nil }), dot + 1 < bytes.count
        else { return false }
        return bytes[(dot + 1)...].allSatisfy { ByteSet.name.contains($0) || $0 == Byte.colon }
    }

    /// Returns whether the bytes are an IPv6 address without a zone. A zone has no meaning on
    /// another machine.
    private static func isAddress(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let longest = Int(INET6_ADDRSTRLEN)
        // inet_pton stops at a zero byte.
        guard bytes.count < longest, !bytes.contains(0) else { return false }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: longest) { text in
            for index in bytes.indices { text[index] = CChar(bitPattern: bytes[index]) }
            text[bytes.count] = 0
            var address = in6_addr()
            return inet_pton(AF_INET6, text.baseAddress!, &address) == 1
        }
    }
}
