// The proof that a server has read a handshake (RFC 6455, 4.2.2): a hash of the client's key.
// OpenSSL computes it, which the servers with TLS need anyway. SHA-1 protects nothing here.
import CLibcrypto

enum AcceptKey {
    /// The length of a client's key: base64 of 16 bytes.
    static let keyLength = 24
    /// The length of the answer: base64 of the 20 bytes of SHA-1.
    static let answerLength = 28
    private static let suffix: StaticString = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

    /// Returns whether the bytes are base64 of 16 bytes. The two unused bits of the last character
    /// may have any value.
    static func isValid(_ key: UnsafeRawBufferPointer) -> Bool {
        guard key.count == keyLength, key[22] == UInt8(ascii: "="), key[23] == UInt8(ascii: "=")
        else { return false }
        return key[..<22].allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"):
                true
            default: false
            }
        }
    }

    /// Returns the value of Sec-WebSocket-Accept for a valid key.
    static func answer(to key: UnsafeRawBufferPointer) -> [UInt8] {
        var text = [UInt8](key)
        text += UnsafeBufferPointer(start: suffix.utf8Start, count: suffix.utf8CodeUnitCount)
        var hash = [UInt8](repeating: 0, count: Int(SHA_DIGEST_LENGTH))
        SHA1(text, text.count, &hash)
        return [UInt8](unsafeUninitializedCapacity: answerLength + 1) { buffer, count in
            // One byte more, for the zero that OpenSSL adds.
            count = Int(EVP_EncodeBlock(buffer.baseAddress, hash, CInt(hash.count)))
        }
    }
}
