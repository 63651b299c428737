/// Each kind of reply in both versions of the protocol.
import RESPCodec
import Testing

@Suite struct ReplyWriterTests {
    private func written(_ version: Int, _ body: (ReplyWriter) -> Void) -> String {
        let writer = ReplyWriter(capacity: 8)
        writer.version = version
        body(writer)
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    @Test("simple strings, errors, bulks and arrays are the same in RESP2 and RESP3")
    func kindsThatBothVersionsWriteAlike() {
        for version in [2, 3] {
            #expect(written(version) { $0.simple("OK") } == "+OK\r\n")
            #expect(written(version) { $0.error("ERR a\r\nb") } == "-ERR a  b\r\n")
            #expect(written(version) { $0.error("ERR \u{0}\u{1B}\u{7F}é") } == "-ERR    é\r\n")
            #expect(written(version) { $0.bulk("") } == "$0\r\n\r\n")
            #expect(written(version) { $0.bulk("0123456789") } == "$10\r\n0123456789\r\n")
            #expect(written(version) { $0.array(12) } == "*12\r\n")
        }
    }

    @Test(
        "integers are written and parsed in decimal",
        arguments: [0, 9, 10, -1, 99, 100, .max, .min, 1_000_000_000_000_000_000])
    func integers(_ value: Int) {
        #expect(written(2) { $0.integer(value) } == ":\(value)\r\n")
        var text = "\(value)"
        #expect(text.withUTF8 { Decimal.parse(UnsafeRawBufferPointer($0)) } == value)
    }

    /// A reply that does not fit is dropped, and earlier replies stay.
    @Test("a reply above the limit is replaced by an error, and earlier replies stay")
    func aReplyAboveTheLimitIsReplaced() {
        let limit = ReplyWriter.smallestLimit
        let writer = ReplyWriter(capacity: 8, limit: limit)
        let text = String(repeating: "x", count: 1000)
        writer.simple("OK")
        #expect(writer.room == limit - 5)
        for _ in 0..<100 { writer.bulk(text) }
        #expect(writer.hasOverflowed)
        writer.replace(from: 5, "ERR too long")
        #expect(
            !writer.hasOverflowed && writer.bytes.elementsEqual("+OK\r\n-ERR too long\r\n".utf8))
        // A single piece may exceed the limit.
        writer.bulk(String(repeating: "x", count: limit))
        #expect(writer.hasOverflowed)
        writer.removeAll()
        #expect(!writer.hasOverflowed && writer.count == 0)
        // Replies may use all the room.
        for _ in 0..<limit / 5 { writer.simple("OK") }
        #expect(!writer.hasOverflowed && writer.room == limit % 5)
    }

    @Test("numbers, errors and other short replies have room above the limit, and data do not")
    func shortRepliesAboveTheLimit() {
        let writer = ReplyWriter(capacity: 8, limit: ReplyWriter.smallestLimit)
        while writer.room > 0 { writer.ok() }
        let full = writer.count
        writer.integer(.min)
        writer.null()
        writer.error("ERR no")
        writer.array(0)
        Array("1.5".utf8).withUnsafeBytes { writer.double($0) }
        let short = ":\(Int.min)\r\n$-1\r\n-ERR no\r\n*0\r\n$3\r\n1.5\r\n"
        #expect(writer.bytes[full...].elementsEqual(short.utf8) && writer.room == 0)
        let end = writer.count
        writer.bulk("")
        writer.ok()
        #expect(writer.hasOverflowed)
        writer.replace(from: end, "ERR too long")
        #expect(writer.bytes[full...].elementsEqual((short + "-ERR too long\r\n").utf8))
    }

    /// An enlargement copies all replies, so a transaction with many refused replies must not need
    /// one for each.
    @Test("many errors above the limit enlarge the memory a few times only")
    func errorsEnlargeTheMemorySeldom() {
        let writer = ReplyWriter(capacity: 8, limit: ReplyWriter.smallestLimit)
        var memory = writer.bytes.baseAddress
        var enlargements = 0
        for _ in 0..<10_000 {
            let start = writer.count
            writer.bulk(String(repeating: "x", count: 1000))
            if writer.hasOverflowed { writer.replace(from: start, "ERR too long") }
            if writer.bytes.baseAddress != memory { enlargements += 1 }
            memory = writer.bytes.baseAddress
        }
        #expect(!writer.hasOverflowed && enlargements < 40, "\(enlargements)")
    }

    @Test("verbatim text and fractions have their own types in RESP3 and are bulks in RESP2")
    func textAndFractions() {
        let digits = Array("1.5".utf8)
        #expect(
            written(2) { reply in digits.withUnsafeBytes { reply.double($0) } } == "$3\r\n1.5\r\n")
        #expect(written(3) { reply in digits.withUnsafeBytes { reply.double($0) } } == ",1.5\r\n")
        #expect(written(2) { $0.verbatim("a b") } == "$3\r\na b\r\n")
        #expect(written(3) { $0.verbatim("a b") } == "=7\r\ntxt:a b\r\n")
        #expect(written(3) { $0.verbatim("0123456789") } == "=14\r\ntxt:0123456789\r\n")
    }

    @Test("nulls, maps, sets and pushes are written differently in RESP2 and RESP3")
    func kindsThatDiffer() {
        #expect(written(2) { $0.null() } == "$-1\r\n" && written(3) { $0.null() } == "_\r\n")
        #expect(written(2) { $0.nullArray() } == "*-1\r\n")
        #expect(written(3) { $0.nullArray() } == "_\r\n")
        #expect(written(2) { $0.map(2) } == "*4\r\n" && written(3) { $0.map(2) } == "%2\r\n")
        #expect(written(2) { $0.set(2) } == "*2\r\n" && written(3) { $0.set(2) } == "~2\r\n")
        #expect(written(2) { $0.push(3) } == "*3\r\n" && written(3) { $0.push(3) } == ">3\r\n")
    }
}
