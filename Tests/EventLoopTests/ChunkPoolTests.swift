/// Outbound chunks: which one is taken next, and how many are out.
import Testing

@testable import EventLoop

@Suite struct ChunkPoolTests {
    @Test func theLastGivenIsTakenFirst() {
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

    @Test func aReusedChunkIsEmpty() {
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

    @Test func otherSizesAreNotPooled() {
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

    @Test func morePassThroughThanAreKept() {
        let pool = ChunkPool(limit: 2)
        for _ in 0..<3 {
            let chunks = (0..<5).map { _ in pool.takeStandard() }
            #expect(Set(chunks).count == 5)
            #expect(pool.inUse == 5)
            for chunk in chunks { pool.give(chunk) }
            #expect(pool.inUse == 0)
        }
    }
}
