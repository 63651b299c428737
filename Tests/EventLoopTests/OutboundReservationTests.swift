/// Tests of reservations: their bytes stay in order, and chunks of which they need little are not
/// kept.
import Glibc
import Testing

@testable import MillraceEventLoop

@Suite struct OutboundReservationTests {
    private let pool = ChunkPool()

    /// Reserves, and commits bytes of a pattern that goes on with each call.
    private func add(
        _ count: Int, of capacity: Int, to queue: inout OutboundQueue, _ written: inout [UInt8]
    ) {
        let room = queue.reserve(capacity, pool)
        #expect(room.count >= capacity)
        let bytes = (written.count..<written.count + count).map { UInt8($0 % 251) }
        room.copyBytes(from: bytes)
        queue.commit(count, pool)
        written += bytes
        #expect(queue.count == written.count)
    }

    /// The capacities of all chunks.
    private func capacities(_ queue: borrowing OutboundQueue) -> [Int] {
        var found: [Int] = []
        var next = queue.first
        while let chunk = next {
            found.append(chunk.pointee.capacity)
            next = chunk.pointee.next
        }
        return found
    }

    private func takeAll(_ queue: inout OutboundQueue) -> [UInt8] {
        var sent: [UInt8] = []
        while let bytes = queue.nextToSend(pool) {
            sent += Array(bytes)
            queue.complete(bytes.count, pool)
        }
        return sent
    }

    @Test(
        "many reservations that need little hold little, and their bytes stay in order",
        arguments: [65_536, 70_000, 300_000, 8 << 20], [1, 10, 5_000])
    func smallNeeds(capacity: Int, count: Int) throws {
        var queue = OutboundQueue()
        var written: [UInt8] = []
        let rounds = 100
        for _ in 0..<rounds { add(count, of: capacity, to: &queue, &written) }
        let held = capacities(queue).reduce(0, +)
        #expect(held <= 2 * rounds * count + 4 * 65_536, "\(capacities(queue))")
        #expect(queue.last?.pointee.next == nil)
        #expect(takeAll(&queue) == written)
        #expect(pool.inUse == 0)
    }

    @Test(
        "reservations that need most of their room keep it, and their bytes stay in order",
        arguments: [40_000, 65_536, 300_000])
    func largeNeeds(capacity: Int) throws {
        var queue = OutboundQueue()
        var written: [UInt8] = []
        for _ in 0..<10 { add(capacity - 1_000, of: capacity, to: &queue, &written) }
        #expect(capacities(queue).allSatisfy { $0 == max(capacity, 65_536) })
        #expect(takeAll(&queue) == written)
        #expect(pool.inUse == 0)
    }

    @Test(
        "one large reservation alone that needs little keeps a small chunk",
        arguments: [70_000, 200_000, 8 << 20])
    func aloneAndSmall(capacity: Int) throws {
        var queue = OutboundQueue()
        var written: [UInt8] = []
        add(10, of: capacity, to: &queue, &written)
        #expect(capacities(queue) == [65_536])
        // It is one reply in one chunk, like any other.
        #expect(queue.single?.count == 10)
        #expect(takeAll(&queue) == written)
        #expect(pool.inUse == 0)
    }

    @Test("an unused reservation leaves the queue as it was, with bytes in flight or without")
    func unused() throws {
        for isInFlight in [false, true] {
            var queue = OutboundQueue()
            var written: [UInt8] = []
            add(40_000, of: 65_536, to: &queue, &written)
            if isInFlight { _ = queue.nextToSend(pool) }
            for capacity in [65_536, 1 << 20] { add(0, of: capacity, to: &queue, &written) }
            #expect(capacities(queue) == [65_536] && pool.inUse == 1)
            #expect((queue.single?.count == 40_000) == !isInFlight)
            add(10, of: 10, to: &queue, &written)
            #expect(capacities(queue) == [65_536])
            if isInFlight { queue.complete(0, pool) }
            #expect(takeAll(&queue) == written)
            #expect(pool.inUse == 0)
        }
    }

    @Test("bytes of a reservation do not join a file's chunk")
    func behindAFile() throws {
        var queue = OutboundQueue()
        let zero = open("/dev/zero", O_RDONLY | O_CLOEXEC)
        defer { close(zero) }
        queue.append(try FilePart(duplicating: zero, offset: 0, left: 10), pool)
        let room = queue.reserve(65_536, pool)
        room.copyBytes(from: [1, 2, 3])
        queue.commit(3, pool)
        let again = queue.reserve(65_536, pool)
        again.copyBytes(from: [4])
        queue.commit(1, pool)
        #expect(takeAll(&queue) == [UInt8](repeating: 0, count: 10) + [1, 2, 3, 4])
        #expect(pool.inUse == 0)
    }

    // MARK: Datagrams

    private func addDatagram(_ parts: [[UInt8]], of capacity: Int, to queue: inout OutboundQueue) {
        for part in parts {
            let room = queue.reserveGathered(capacity, pool)
            #expect(room.count >= capacity)
            room.copyBytes(from: part)
            queue.commit(part.count, pool)
        }
        queue.seal()
    }

    @Test("datagrams that need little of a reservation hold little, and stay apart and in order")
    func datagrams() throws {
        var queue = OutboundQueue()
        let sent: [[[UInt8]]] = (0..<100).map { number in
            let number = UInt8(number)
            return number % 3 == 0 ? [[number], [], [number, number]] : [[number]]
        }
        for parts in sent { addDatagram(parts, of: 65_507, to: &queue) }
        #expect(queue.datagramCount == 100)
        let held = capacities(queue).reduce(0, +)
        #expect(held <= 65_536 + 200 * 256, "\(held) bytes")
        var received: [[UInt8]] = []
        while let bytes = queue.nextDatagramToSend(pool) {
            received.append(Array(bytes))
            _ = queue.completeDatagram(bytes.count, pool)
        }
        #expect(received == sent.map { $0.flatMap { $0 } })
        #expect(queue.isEmpty && pool.inUse == 0)
    }

    @Test("an unused reservation between datagrams is not one")
    func unusedDatagram() throws {
        var queue = OutboundQueue()
        addDatagram([[1]], of: 100, to: &queue)
        addDatagram([[]], of: 65_507, to: &queue)
        addDatagram([[2]], of: 100, to: &queue)
        #expect(queue.datagramCount == 2 && queue.count == 2)
        for expected: [UInt8] in [[1], [2]] {
            let bytes = queue.nextDatagramToSend(pool)
            #expect(bytes.map { Array($0) } == expected)
            _ = queue.completeDatagram(1, pool)
        }
        #expect(queue.isEmpty && pool.inUse == 0)
    }
}
