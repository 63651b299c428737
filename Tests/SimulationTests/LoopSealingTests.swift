import MillraceEventLoop
import MillraceSimulation
import Testing

/// Large writes over a filter: sealed from the program's memory, and not without end.
@Suite struct LoopSealingTests {
    @Test("a large write is sealed from the program's memory as far as the kernel takes it")
    func largeWrite() throws {
        try withSecuredStage { secured in
            let token = try secured.open()
            let bytes = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 / 7) }
            secured.stage.loop.handlerWantsPreWrite = false
            // The second piece is taken in part.
            secured.stage.driver.taken = [.max, 100]
            let requests = secured.noteSends(secured.stage.write(bytes, to: token))
            let sizes = requests.compactMap { request -> Int? in
                switch request {
                case .sentAtOnce(let bytes, _), .send(let bytes, _): bytes.count
                default: nil
                }
            }
            // 48 KiB in three records, and what the wire's queue has of the second piece.
            #expect(sizes.prefix(2) == [49_152 + 9, 100])
            #expect(sizes.count == 3)
            secured.finishSends(of: token)
            #expect(secured.sent.plain == bytes)
        }
    }

    @Test("one write is not sealed without end, however fast the kernel takes it")
    func endlessWrite() throws {
        try withSecuredStage { secured in
            let token = try secured.open()
            secured.stage.driver.taken = [Int](repeating: .max, count: 1_000)
            secured.stage.loop.handlerWantsPreWrite = false
            let count = 20 * 49_152
            let requests = secured.noteSends(
                secured.stage.write([UInt8](repeating: 5, count: count), to: token))
            let atOnce = requests.filter { if case .sentAtOnce = $0 { true } else { false } }
            #expect(atOnce.count == 15)
            secured.finishSends(of: token)
            #expect(secured.sent.plain.count == count)
        }
    }
}
