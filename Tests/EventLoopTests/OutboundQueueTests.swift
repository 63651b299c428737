/// Tests of unsent bytes: their order, that bytes in flight do not move, and that chunks return to
/// the pool.
import Testing

@testable import MillraceEventLoop

@Suite struct OutboundQueueTests {
    @Test(
        "random operations on the queue have the same results as on an array",
        arguments: Trial.seeds)
    func agreesWithAnArray(seed: UInt64) throws {
        var trial = Trial(seed)
        var twin = OutboundTwin()
        for _ in 0..<1000 { try twin.takeStep(&trial, unusedReservations: false) }
        try twin.clear(&trial)
    }

    @Test(
        "random operations with unused reservations have the same results as on an array",
        arguments: Trial.seeds)
    func agreesWithAnArrayWhenReservationsComeToNothing(seed: UInt64) throws {
        var trial = Trial(seed)
        var twin = OutboundTwin()
        for _ in 0..<1000 { try twin.takeStep(&trial, unusedReservations: true) }
        try twin.clear(&trial)
    }

    private let pool = ChunkPool()

    // MARK: In flight

    @Test("an append does not move the bytes that are in flight")
    func bytesAppendedDoNotMoveWhatIsInFlight() throws {
        var queue = OutboundQueue()
        append(pattern(1000), to: &queue)
        let flying = try nextToSend(&queue)
        for round in 0..<50 {
            append(pattern(5000, from: round), to: &queue)
            #expect(Array(flying) == pattern(1000))
            let again = queue.nextToSend(pool)
            #expect(again == nil)
        }
        queue.complete(400, pool)
        let rest = try nextToSend(&queue)
        #expect(rest.baseAddress == flying.baseAddress.map { $0 + 400 })
        #expect(Array(rest.prefix(600)) == Array(pattern(1000)[400...]))
        queue.clear(pool)
        #expect(pool.inUse == 0)
    }

    @Test("after a partial send, the next send begins at the first unsent byte")
    func theRestFollowsWhereThePartEnded() throws {
        var queue = OutboundQueue()
        append(pattern(100_000), to: &queue)
        let first = try nextToSend(&queue)
        #expect(first.count == Chunk.standardCapacity)
        queue.complete(1000, pool)
        let second = try nextToSend(&queue)
        #expect(second.baseAddress == first.baseAddress.map { $0 + 1000 })
        #expect(second.count == Chunk.standardCapacity - 1000)
        queue.complete(second.count, pool)
        let third = try nextToSend(&queue)
        #expect(Array(third) == Array(pattern(100_000)[Chunk.standardCapacity...]))
        queue.complete(third.count, pool)
        #expect(queue.isEmpty && !queue.isInFlight)
        #expect(pool.inUse == 0)
    }

    @Test("after a send of zero bytes, the queue returns the same bytes again")
    func nothingTakenIsSentAgain() throws {
        var queue = OutboundQueue()
        append(pattern(50_000), to: &queue)
        let first = try nextToSend(&queue)
        queue.complete(0, pool)
        #expect(queue.count == 50_000 && !queue.isInFlight)
        let second = try nextToSend(&queue)
        #expect(first.baseAddress == second.baseAddress && first.count == second.count)
        queue.clear(pool)
    }

    @Test("an empty queue returns no bytes to send")
    func emptyHasNothingToTakeOff() {
        var queue = OutboundQueue()
        append([], to: &queue)
        let taken = queue.nextToSend(pool)
        #expect(taken == nil && queue.isEmpty && !queue.isInFlight)
        #expect(pool.inUse == 0)
    }

    // MARK: A small rest

    @Test(
        "a small unsent rest leaves its standard chunk, which returns to the pool",
        arguments: [1, 1000, 16_384])
    func aSmallRestLeavesItsStandardChunk(rest: Int) throws {
        var queue = OutboundQueue()
        append(pattern(Chunk.standardCapacity), to: &queue)
        let flying = try nextToSend(&queue)
        queue.complete(flying.count - rest, pool)
        #expect(pool.inUse == 1)
        let standard = pool.takeStandard()
        #expect(UnsafeRawPointer(standard.bytes) == flying.baseAddress, "not back in the pool")
        let next = try nextToSend(&queue)
        #expect(Array(next) == pattern(rest, from: Chunk.standardCapacity - rest))
        pool.give(standard)
        queue.complete(rest, pool)
        #expect(queue.isEmpty && pool.inUse == 0)
    }

    @Test("a small unsent rest stays in its chunk when more bytes follow")
    func aSmallRestStaysInFrontOfMore() throws {
        var queue = OutboundQueue()
        append(pattern(Chunk.standardCapacity + 100), to: &queue)
        let flying = try nextToSend(&queue)
        queue.complete(flying.count - 10, pool)
        #expect(pool.inUse == 2)
        let next = try nextToSend(&queue)
        #expect(next.baseAddress == flying.baseAddress.map { $0 + flying.count - 10 })
        queue.clear(pool)
        #expect(pool.inUse == 0)
    }

    @Test("a large unsent rest stays in its chunk")
    func aLargeRestStaysWhereItIs() throws {
        var queue = OutboundQueue()
        append(pattern(Chunk.standardCapacity), to: &queue)
        let flying = try nextToSend(&queue)
        queue.complete(flying.count - 16_385, pool)
        let next = try nextToSend(&queue)
        #expect(next.baseAddress == flying.baseAddress.map { $0 + flying.count - 16_385 })
        queue.clear(pool)
    }

    @Test("bytes appended after a small unsent rest are sent after it")
    func bytesFollowASmallRest() throws {
        var queue = OutboundQueue()
        append(pattern(60_000), to: &queue)
        let flying = try nextToSend(&queue)
        queue.complete(flying.count - 16_000, pool)
        append(pattern(30_000, from: 60_000), to: &queue)
        var sent: [UInt8] = []
        while let bytes = queue.nextToSend(pool) {
            sent += Array(bytes)
            queue.complete(bytes.count, pool)
        }
        #expect(sent == pattern(46_000, from: 44_000))
        #expect(pool.inUse == 0)
    }

    // MARK: Reserving

    @Test(
        "reserve returns at least the capacity that was requested",
        arguments: [0, 1, 65_536, 65_537, 1_000_000])
    func reservesAtLeastWhatIsAsked(capacity: Int) throws {
        var queue = OutboundQueue()
        append(pattern(10), to: &queue)
        let room = queue.reserve(capacity, pool)
        #expect(room.count >= capacity)
        #expect(queue.count == 10)
        room.copyBytes(from: pattern(capacity, from: 10))
        queue.commit(capacity, pool)
        #expect(queue.count == capacity + 10)
        var sent: [UInt8] = []
        while let bytes = queue.nextToSend(pool) {
            sent += Array(bytes)
            queue.complete(bytes.count, pool)
        }
        #expect(sent == pattern(capacity + 10))
        #expect(pool.inUse == 0)
    }

    @Test("reserve works while earlier bytes are in flight")
    func reservesWhileTheFrontIsInFlight() throws {
        var queue = OutboundQueue()
        append(pattern(10), to: &queue)
        let flying = try nextToSend(&queue)
        let room = queue.reserve(20, pool)
        room.copyBytes(from: pattern(20, from: 10))
        queue.commit(20, pool)
        #expect(Array(flying) == pattern(10))
        queue.complete(10, pool)
        let next = try nextToSend(&queue)
        #expect(Array(next) == pattern(20, from: 10))
        queue.clear(pool)
    }

    @Test("an unused reservation leaves nothing to send and keeps no chunk")
    func anUnusedReservationIsForgotten() throws {
        var queue = OutboundQueue()
        _ = queue.reserve(200_000, pool)
        queue.commit(0, pool)
        #expect(queue.isEmpty == true)
        let nothing = queue.nextToSend(pool)
        #expect(nothing == nil && !queue.isInFlight)
        _ = queue.reserve(300_000, pool)
        queue.commit(0, pool)
        append(pattern(5), to: &queue)
        let taken = try nextToSend(&queue)
        #expect(Array(taken) == pattern(5))
        queue.complete(5, pool)
        #expect(queue.isEmpty && pool.inUse == 0)
    }

    @Test("the chunk of an unused reservation behind a small rest returns to the pool")
    func anUnusedReservationBehindASmallRestIsNotLost() throws {
        var queue = OutboundQueue()
        append(pattern(40_000), to: &queue)
        _ = queue.reserve(30_000, pool)
        queue.commit(0, pool)
        let flying = try nextToSend(&queue)
        queue.complete(flying.count - 10_000, pool)
        #expect(queue.count == 10_000)
        queue.clear(pool)
        #expect(pool.inUse == 0)
    }

    @Test("the chunk of an unused reservation returns to the pool after the last byte is sent")
    func anUnusedReservationGoesWithTheLastByte() throws {
        var queue = OutboundQueue()
        append(pattern(40_000), to: &queue)
        _ = queue.reserve(30_000, pool)
        queue.commit(0, pool)
        let flying = try nextToSend(&queue)
        queue.complete(flying.count, pool)
        #expect(queue.isEmpty == true)
        #expect(pool.inUse == 0)
        queue.clear(pool)
    }

    private func append(_ bytes: [UInt8], to queue: inout OutboundQueue) {
        bytes.withUnsafeBytes { queue.append($0, pool) }
    }

    private func nextToSend(_ queue: inout OutboundQueue) throws -> UnsafeRawBufferPointer {
        let bytes = queue.nextToSend(pool)
        return try #require(bytes)
    }

    /// 251 is prime: no chunk's size is a multiple of the period.
    private func pattern(_ count: Int, from start: Int = 0) -> [UInt8] {
        (start..<start + count).map { UInt8($0 % 251) }
    }
}
