/// Tests of the datagrams that came in a pause: their order, and their bound.
import Testing

@testable import MillraceEventLoop

@Suite struct KeptDatagramsTests {
    private func keep(_ bytes: [UInt8], in kept: KeptDatagrams, atMost limit: Int) -> Bool {
        bytes.withUnsafeBytes { kept.keep($0, atMost: limit) }
    }

    @Test("datagrams are returned once, in order, also empty ones")
    func order() {
        let kept = KeptDatagrams()
        #expect(kept.isEmpty && kept.take() == nil)
        let all: [[UInt8]] = [[1], [], [2, 3], []]
        for bytes in all { #expect(keep(bytes, in: kept, atMost: 10_000)) }
        #expect(!kept.isEmpty)
        for bytes in all { #expect(kept.take() == bytes) }
        #expect(kept.isEmpty && kept.take() == nil)
    }

    @Test("each datagram counts for 256 bytes more, and what was taken makes room")
    func bound() {
        let kept = KeptDatagrams()
        let limit = 3 * 256 + 10
        #expect(keep([UInt8](repeating: 1, count: 8), in: kept, atMost: limit))
        #expect(keep([2, 2], in: kept, atMost: limit))
        #expect(keep([], in: kept, atMost: limit))
        for bytes in [[], [3]] as [[UInt8]] { #expect(!keep(bytes, in: kept, atMost: limit)) }
        #expect(kept.take()?.count == 8)
        #expect(!keep([UInt8](repeating: 3, count: 9), in: kept, atMost: limit))
        #expect(keep([UInt8](repeating: 4, count: 8), in: kept, atMost: limit))
        #expect(kept.take() == [2, 2] && kept.take() == [] && kept.take()?.first == 4)
    }

    @Test("a single datagram is kept whatever the limit", arguments: [1, 256, Int.max])
    func single(_ limit: Int) {
        let kept = KeptDatagrams()
        let large = [UInt8](repeating: 1, count: 65_507)
        for _ in 0..<2 {
            #expect(keep(large, in: kept, atMost: limit))
            #expect(keep([1], in: kept, atMost: limit) == (limit == .max))
            while kept.take() != nil {}
        }
    }
}
