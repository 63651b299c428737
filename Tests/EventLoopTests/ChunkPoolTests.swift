/// Tests of outbound chunks: the one that is used next, and the number in use.
import MillraceTestSupport
import Testing

@testable import MillraceEventLoop

@Suite struct ChunkPoolTests {
    @Test("the pool returns the last released chunk first")
    func theLastGivenIsTakenFirst() {
        let pool = ChunkPool()
        let (one, two) = (
            pool.takeStandard(), pool.takeStandard()
        )
        #expect(pool.inUse == 2)
        pool.give(one)
        pool.give(two)
        #expect(pool.inUse == 0)
        let (three, four) = (
            pool.takeStandard(), pool.takeStandard()
        )
        #expect(three == two && four == one)
        pool.give(three)
        pool.give(four)
    }

    @Test("a reused chunk is empty")
    func aReusedChunkIsEmpty() {
        let pool = ChunkPool()
        let (one, two) = (
            pool.takeStandard(), pool.takeStandard()
        )
        one.pointee.next = two
        one.pointee.start = 5
        one.pointee.end = 10
        pool.give(two)
        pool.give(one)
        let again = pool.takeStandard()
        #expect(again == one)
        #expect(again.pointee.next == nil && again.pointee.count == 0)
        #expect(again.pointee.room == Chunk.standardCapacity)
        pool.give(again)
    }

    @Test("chunks of other sizes are not pooled")
    func otherSizesAreNotPooled() {
        let pool = ChunkPool()
        let standard = pool.takeStandard()
        pool.give(standard)
        let large = pool.take(capacity: 1_000_000)
        #expect(large != standard && large.pointee.capacity == 1_000_000)
        pool.give(large)
        let next = pool.takeStandard()
        #expect(next == standard)
        pool.give(next)
        #expect(pool.inUse == 0)
    }

    @Test("the pool provides more chunks than its limit keeps")
    func morePassThroughThanAreKept() {
        let pool = ChunkPool(limit: 2)
        for _ in 0..<3 {
            let chunks = (0..<5).map { _ in pool.takeStandard() }
            #expect(Set(chunks).count == 5)
            #expect(pool.inUse == 5)
            for chunk in chunks { pool.give(chunk) }
            #expect(pool.inUse == 0)
        }
    }

    @Test("the pool keeps as many free chunks as are in use")
    func asManyAreKeptAsAreInUse() {
        let pool = ChunkPool(limit: 4)
        var chunks = (0..<100).map { _ in pool.takeStandard() }
        for chunk in chunks[60...] { pool.give(chunk) }
        #expect(pool.freeCount == 40)
        let kept = Set(chunks[60...])
        chunks.removeLast(40)
        for _ in 0..<40 { chunks.append(pool.takeStandard()) }
        #expect(kept.isSuperset(of: chunks[60...]))
        for chunk in chunks[50...] { pool.give(chunk) }
        #expect(pool.freeCount == 50)
        // The pool keeps fewer free chunks when fewer are in use.
        for chunk in chunks[20..<50] { pool.give(chunk) }
        #expect(pool.freeCount <= 22 && pool.inUse == 20)
        for chunk in chunks[..<20] { pool.give(chunk) }
        #expect(pool.freeCount <= 4 && pool.inUse == 0)
    }

    /// Small blocks between the chunks would keep malloc from returning their memory to the kernel.
    @Test("the memory of released chunks returns to the kernel")
    func whatACrowdNeededGoesBackToTheKernel() {
        let pool = ChunkPool()
        var chunks: [UnsafeMutablePointer<Chunk>] = []
        var between: [UnsafeMutableRawPointer] = []
        for _ in 0..<2000 {
            let chunk = pool.takeStandard()
            chunk.bytes.initializeMemory(
                as: UInt8.self, repeating: 1, count: Chunk.standardCapacity)
            chunks.append(chunk)
            between.append(.allocate(byteCount: 100, alignment: 16))
        }
        // Measured from the highest mark, since malloc may have held memory at the start.
        let most = residentBytes()
        for chunk in chunks { pool.give(chunk) }
        #expect(most - residentBytes() > 100 << 20)
        for block in between { block.deallocate() }
    }
}
