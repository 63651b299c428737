/// Every row of the tables, whole, byte by byte, in every cut and in random pieces. The result must
/// be the same.
import TestSupport
import Testing

@testable import WebSocketCodec

@Suite struct MessageReaderTests {
    @Test(
        "the reader's events do not depend on how the input is cut",
        arguments: FrameRows.all + TextRows.all + TextRows.long)
    func cuts(_ row: FrameRow) {
        let bytes = row.bytes
        #expect(Transcript.of(bytes) == row.expected)
        // In a long message, the first bytes and the last are those that decide.
        let places = bytes.count <= 400 ? Array(0...bytes.count) : Array(0...20)
        for place in places {
            let events = Transcript.of(bytes, cuts: [place])
            guard events == row.expected else {
                Issue.record("cut at \(place): \(events)")
                break
            }
        }
        if bytes.count <= 2000 {
            #expect(Transcript.of(bytes, cuts: Array(bytes.indices)) == row.expected)
        }
        for seed in 1...10 {
            var random = SplitMix64(seed: UInt64(seed))
            let count = Int.random(in: 1...8, using: &random)
            let cuts = (0..<count).map { _ in Int.random(in: 0...bytes.count, using: &random) }
            #expect(Transcript.of(bytes, cuts: cuts.sorted()) == row.expected, "seed \(seed)")
        }
    }

    @Test("random frames in random pieces give the messages of which they were made")
    func randomFrames() {
        for seed in 1...300 {
            var random = SplitMix64(seed: UInt64(seed))
            var (bytes, expected): ([UInt8], [String]) = ([], [])
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let (message, events) = Self.message(&random)
                bytes += message
                expected += events
            }
            let count = Int.random(in: 0...12, using: &random)
            let cuts = (0..<count).map { _ in Int.random(in: 0...bytes.count, using: &random) }
            let events = Transcript.of(bytes, cuts: cuts.sorted())
            guard events == expected else {
                Issue.record("seed \(seed): \(events) instead of \(expected)")
                return
            }
        }
    }

    /// Returns a message in random fragments with random pings between them, and its events.
    private static func message(_ random: inout SplitMix64) -> ([UInt8], [String]) {
        let isText = Bool.random(using: &random)
        let size = Int.random(in: 0...3, using: &random) * Int.random(in: 0...100, using: &random)
        let payload =
            isText
            ? Array(String(repeating: "aµ€𝄞", count: size / 10).utf8)
            : (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) }
        let count = Int.random(in: 0...5, using: &random)
        let ends =
            (0..<count).map { _ in Int.random(in: 0...payload.count, using: &random) }.sorted()
            + [payload.count]
        var (bytes, events): ([UInt8], [String]) = ([], [])
        for (index, end) in ends.enumerated() {
            let start = index == 0 ? 0 : ends[index - 1]
            let opcode: UInt8 = index > 0 ? 0 : isText ? 1 : 2
            let key = (0..<4).map { _ in UInt8.random(in: 0...255, using: &random) }
            let final: UInt8 = index == count ? 0x80 : 0
            bytes += FrameBytes.frame(opcode | final, Array(payload[start..<end]), key: key)
            if index < count, Bool.random(using: &random) {
                bytes += FrameBytes.frame(0x89, [0x30 + UInt8(index)])
                events.append("ping \(index)")
            }
        }
        events.append((isText ? "text " : "binary ") + Transcript.shown(payload))
        return (bytes, events)
    }

    @Test("at most a part of a header stays unread")
    func unreadBytes() {
        let bytes = FrameBytes.frame(0x82, Array(repeating: 7, count: 66_000))
        var transcript = Transcript()
        for byte in bytes {
            transcript.take([byte])
            guard transcript.buffer.count < 14 else {
                Issue.record("\(transcript.buffer.count) bytes unread")
                return
            }
        }
        #expect(transcript.lines.count == 1)
    }

    @Test("a reader keeps no memory of a long message, and a client's length reserves none")
    func memory() {
        var reader = MessageReader()
        func read(_ bytes: [UInt8]) { _ = bytes.withUnsafeBytes { reader.read($0) } }
        read(FrameBytes.frame(0x82, Array(repeating: 7, count: 66_000)))
        #expect(reader.message.count == 66_000)
        read([])
        #expect(reader.message.capacity == 0)
        read(FrameBytes.header(0x82, 1 << 20) + FrameBytes.key + [1])
        #expect(reader.message.capacity < 1024)
    }

    @Test("a client reads a server's frames, and refuses masked ones")
    func server() {
        let frames =
            FrameBytes.frame(0x81, [0x61], key: nil) + FrameBytes.frame(0x89, key: nil)
            + FrameBytes.text("masked")
        for cut in frames.indices {
            let events = Transcript.of(frames, cuts: [cut], from: .server)
            #expect(events == ["text a", "ping ", "failed 1002"])
        }
    }
}
