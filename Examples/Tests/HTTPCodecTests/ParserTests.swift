/// Every request of the tables, whole, byte by byte and in random pieces. The result must be the
/// same.
import HTTPCodec
import TestSupport
import Testing

@Suite struct ParserTests {
    @Test(
        "the parser's result does not depend on how the input is cut",
        arguments: Requests.good + Requests.hostile)
    func whatIsReadDoesNotDependOnTheCuts(_ row: Row) {
        let bytes = row.bytes
        #expect(Transcript.of(bytes) == row.expected)
        #expect(Transcript.of(bytes, cuts: Array(bytes.indices)) == row.expected)
        for seed in 1...20 {
            var random = SplitMix64(seed: UInt64(seed))
            let count = Int.random(in: 1...8, using: &random)
            let cuts = (0..<count).map { _ in Int.random(in: 0...bytes.count, using: &random) }
            #expect(Transcript.of(bytes, cuts: cuts.sorted()) == row.expected, "seed \(seed)")
        }
    }

    /// Bytes after a refused request must not become another request.
    @Test("the parser reads no request after a refused request", arguments: Requests.hostile)
    func nothingIsReadAfterARefusal(_ row: Row) {
        guard row.text.hasSuffix("\r\n") else { return }
        let next = Array("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
        #expect(Transcript.of(row.bytes + next) == row.expected)
    }

    /// Bytes that were parsed once are replaced by line feeds, each of which would end a line.
    @Test("the parser scans no byte of a head twice")
    func noByteIsScannedTwice() {
        var bytes = Array("GET / HTTP/1.1\r\nHost: a\r\nA: ".utf8)
        var parser = RequestParser()
        for _ in 0..<1000 {
            let progress = bytes.withUnsafeBytes { parser.parse($0) }
            guard progress == .needsMore else {
                Issue.record("\(progress) after \(bytes.count) bytes")
                return
            }
            for index in bytes.indices { bytes[index] = 0x0A }
            bytes.append(0x78)
        }
    }

    @Test("the decoder scans no byte of a chunk line twice")
    func noByteOfAChunkLineIsScannedTwice() {
        var bytes = Array("5;".utf8)
        var decoder = BodyDecoder(.chunked)
        for _ in 0..<200 {
            let step = bytes.withUnsafeBytes { decoder.decode($0) }
            #expect(step == BodyDecoder.Step())
            for index in bytes.indices { bytes[index] = 0x0A }
            bytes.append(0x78)
        }
    }

    @Test("the decoder reads a body of chunks of one byte each")
    func bodiesMayComeInOneByteChunks() {
        let count = 5000
        let body = String(repeating: "1\r\nx\r\n", count: count) + "0\r\n\r\n"
        let text = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body
        let expected = ["post /", "body " + String(repeating: "x", count: count)]
        #expect(Transcript.of(Array(text.utf8)) == expected)
    }
}
