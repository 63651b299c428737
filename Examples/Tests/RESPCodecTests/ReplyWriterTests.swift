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

    @Test func kindsThatBothVersionsWriteAlike() {
        for version in [2, 3] {
            #expect(written(version) { $0.simple("OK") } == "+OK\r\n")
            #expect(written(version) { $0.error("ERR a\r\nb") } == "-ERR a  b\r\n")
            #expect(written(version) { $0.bulk("") } == "$0\r\n\r\n")
            #expect(written(version) { $0.bulk("0123456789") } == "$10\r\n0123456789\r\n")
            #expect(written(version) { $0.array(12) } == "*12\r\n")
        }
    }

    @Test(arguments: [0, 9, 10, -1, 99, 100, .max, .min, 1_000_000_000_000_000_000])
    func integers(_ value: Int) {
        #expect(written(2) { $0.integer(value) } == ":\(value)\r\n")
        var text = "\(value)"
        #expect(text.withUTF8 { Decimal.parse(UnsafeRawBufferPointer($0)) } == value)
    }

    @Test func kindsThatDiffer() {
        #expect(written(2) { $0.null() } == "$-1\r\n" && written(3) { $0.null() } == "_\r\n")
        #expect(written(2) { $0.nullArray() } == "*-1\r\n")
        #expect(written(3) { $0.nullArray() } == "_\r\n")
        #expect(written(2) { $0.map(2) } == "*4\r\n" && written(3) { $0.map(2) } == "%2\r\n")
        #expect(written(2) { $0.set(2) } == "*2\r\n" && written(3) { $0.set(2) } == "~2\r\n")
        #expect(written(2) { $0.push(3) } == "*3\r\n" && written(3) { $0.push(3) } == ">3\r\n")
    }
}
