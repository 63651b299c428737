/// Outbound chunks: which one is taken next, and how many are out.
import Testing

@testable import EventLoop

@Suite struct ChunkPoolTests {
    @Test func theLastGivenIsTakenFirst() {
        let pool = ChunkPool()
        let (one, two) = (
            pool.take(capacity: Chunk.standardCapacity), pool.take(capacity: Chunk.standardCapacity)
        )
        #expect(pool.inUse == 2)
        pool.give(one)
        pool.give(two)
        #expect(pool.inUse == 0)
        let (three, four) = (
            pool.take(capacity: Chunk.standardCapacity), pool.take(capacity: Chunk.standardCapacity)
        )
        #expect(three == two && four == one)
        pool.give(three)
        pool.give(four)
    }

    @Test func aReusedChunkIsEmpty() {
        let pool = ChunkPool()
        let (one, two) = (
            pool.take(capacity: Chunk.standardCapacity), pool.take(capacity: Chunk.standardCapacity)
        )
        one.pointee.next = two
        one.pointee.start = 5
        one.pointee.end = 10
        pool.give(two)
        pool.give(one)
        let again = pool.take(capacity: Chunk.standardCapacity)
        #expect(again == one)
        #expect(again.pointee.next == nil && again.pointee.count == 0)
        #expect(again.pointee.room == Chunk.standardCapacity)
        pool.give(again)
    }

    @Test func otherSizesAreNotPooled() {
        let pool = ChunkPool()
        let standard = pool.take(capacity: Chunk.standardCapacity)
        pool.give(standard)
        let large = pool.take(capacity: 1_000_000)
        #expect(large != standard && large.pointee.capacity == 1_000_000)
        pool.give(large)
        let next = pool.take(capacity: Chunk.standardCapacity)
        #expect(next == standard)
        pool.give(next)
        #expect(pool.inUse == 0)
    }

    @Test func morePassThroughThanAreKept() {
        let pool = ChunkPool(limit: 2)
        for _ in 0..<3 {
            let chunks = (0..<5).map { _ in pool.take(capacity: Chunk.standardCapacity) }
            #expect(Set(chunks).count == 5)
            #expect(pool.inUse == 5)
            for chunk in chunks { pool.give(chunk) }
            #expect(pool.inUse == 0)
        }
    }
}
