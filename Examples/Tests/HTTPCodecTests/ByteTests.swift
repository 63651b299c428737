/// Every byte at every place of texts of several lengths. The parser examines many bytes at once
/// and must accept exactly the sets of RFC 9110 and RFC 3986.
import HTTPCodec
import Testing

@Suite struct ByteTests {
    private static let lengths = [1, 2, 7, 8, 9, 15, 16, 17, 25]

    private static let letters = Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)
    private static let digits = Set("0123456789".utf8)
    private static let token = letters.union(digits).union("!#$%&'*+-.^_`|~".utf8)
    private static let target = letters.union(digits).union("-._~!$&'()*+,;=:@%/?[]".utf8)
    private static let host = letters.union(digits).union("-._~!$&'()*+,;=".utf8)
    private static let value = Set(UInt8(0x20)...0xFF).subtracting([0x7F]).union([0x09])

    struct Part: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let before: String
        let after: String
        let allowed: Set<UInt8>
        /// The bytes that end the part early in a request that is still valid.
        var ends: Set<UInt8> = []
        /// The bytes whose validity depends on the bytes after them.
        var others: Set<UInt8> = []
    }

    private static let parts = [
        Part(
            testDescription: "name", before: "GET / HTTP/1.1\r\nHost: a\r\n", after: ": b\r\n\r\n",
            allowed: token, ends: [0x3A]),
        Part(testDescription: "path", before: "GET /", after: end, allowed: target),
        Part(testDescription: "query", before: "GET /?", after: end, allowed: target),
        // The letters around the host keep blanks at its ends from being trimmed.
        Part(
            testDescription: "host", before: "GET / HTTP/1.1\r\nHost: a", after: "a\r\n\r\n",
            allowed: host, others: [0x25]),
        Part(
            testDescription: "value", before: "GET / HTTP/1.1\r\nHost: a\r\nA: ",
            after: "\r\n\r\n", allowed: value),
    ]
    private static let end = " HTTP/1.1\r\nHost: a\r\n\r\n"

    @Test(
        "the parser accepts exactly the bytes that are allowed in each part of a request",
        arguments: parts)
    func onlyWhatMayStandThereIsTaken(_ part: Part) {
        for length in Self.lengths {
            for place in 0..<length {
                for byte in UInt8.min...UInt8.max where !part.others.contains(byte) {
                    var text = [UInt8](repeating: 0x61, count: length)
                    text[place] = byte
                    let bytes = Array(part.before.utf8) + text + Array(part.after.utf8)
                    let isTaken = isComplete(bytes)
                    // A name must not be empty.
                    let ends = part.ends.contains(byte) && place > 0
                    let expected = part.allowed.contains(byte) || ends
                    if isTaken != expected {
                        Issue.record("\(byte) at \(place) of \(length): \(isTaken)")
                    }
                }
            }
        }
    }

    private func isComplete(_ bytes: [UInt8]) -> Bool {
        var parser = RequestParser()
        return bytes.withUnsafeBytes { parser.parse($0) } == .complete(bytes.count)
    }

    @Test(
        "a path ends at the first question mark of the target",
        arguments: [
            ("/a?b", "/a"), ("/a?b?c", "/a"), ("/?", "/"), ("/0123456789?b", "/0123456789"),
            ("http://a/b?c", "/b"), ("http://a?c", "/"), ("http://a", "/"), ("/a%3Fb", "/a%3Fb"),
        ])
    func aPathEndsAtTheFirstQuestionMark(_ target: String, _ path: String) {
        let bytes = Array("GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
        var parser = RequestParser()
        let found = bytes.withUnsafeBytes { bytes in
            _ = parser.parse(bytes)
            return String(decoding: parser.head.path(in: bytes), as: UTF8.self)
        }
        #expect(found == path)
    }
}
