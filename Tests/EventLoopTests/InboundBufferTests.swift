/// Tests of unread bytes: their storage, their order, and the release of their memory.
import MillraceTestSupport
import Testing

@testable import MillraceEventLoop

@Suite struct InboundBufferTests {
    @Test(
        "random operations on the buffer have the same results as on an array",
        arguments: Trial.seeds)
    func agreesWithAnArray(seed: UInt64) throws {
        var trial = Trial(seed)
        var twin = InboundTwin()
        defer { twin.end() }
        for _ in 0..<4000 { try twin.takeStep(&trial) }
    }

    // MARK: Growing and shrinking

    @Test("the buffer doubles its capacity below 4 KiB and grows by a quarter from there")
    func growsByTwoBelowFourKilobytesThenByAQuarter() {
        var buffer = InboundBuffer()
        defer { buffer.release() }
        var capacities: [Int] = []
        for _ in 0..<3000 {
            append(repeatElement(7, count: 100), to: &buffer)
            if capacities.last != buffer.capacity { capacities.append(buffer.capacity) }
        }
        #expect(capacities.first == 512)
        for (old, new) in zip(capacities, capacities.dropFirst()) {
            if old < 4096 {
                #expect(new == old * 2)
            } else {
                // Rounded up to the allocator's alignment.
                #expect(new >= old + old / 4 && new < old + old / 4 + 16, "\(old) to \(new)")
            }
        }
        #expect(capacities.count > 15)
    }

    @Test(
        "the first capacity is the smallest growth step that fits the appended bytes",
        arguments: [
            (1, 512), (512, 512), (513, 1024), (1025, 2048), (2049, 4096), (4097, 5120),
            (5121, 6400), (6401, 8000), (8001, 10_000),
        ])
    func firstCapacityFits(needed: Int, capacity: Int) {
        var buffer = InboundBuffer()
        defer { buffer.release() }
        append(repeatElement(1, count: needed), to: &buffer)
        #expect(buffer.capacity == capacity)
    }

    @Test("the buffer grows to fit a large append without a needless further step")
    func aLargePieceMakesOneStep() {
        var buffer = InboundBuffer()
        defer { buffer.release() }
        append(repeatElement(1, count: 50_000), to: &buffer)
        #expect(buffer.capacity >= 50_000 && buffer.capacity < 62_516)
        #expect(buffer.count == 50_000)
    }

    @Test("the buffer shrinks on settle, and not before, when it is nearly empty")
    func shrinksWhenNearlyEmpty() {
        var random = SplitMix64(seed: 1)
        let bytes = random.bytes(20_000)
        var buffer = InboundBuffer()
        defer { buffer.release() }
        append(bytes, to: &buffer)
        buffer.consume(19_000)
        #expect(buffer.capacity >= 20_000, "not before the callback is over")
        buffer.settle()
        #expect(buffer.capacity == 1024)
        #expect(unread(buffer) == Array(bytes.suffix(1000)))
    }

    @Test("the buffer keeps its memory on settle when a quarter of it is in use")
    func keepsWhatIsNotFarTooLarge() {
        var buffer = InboundBuffer()
        defer { buffer.release() }
        append(repeatElement(1, count: 2048), to: &buffer)
        buffer.consume(1536)
        let base = buffer.base
        buffer.settle()
        #expect(buffer.capacity == 2048 && buffer.base == base)
    }

    // MARK: The ring

    @Test("a wrapped buffer returns its bytes in order, first the front and then the back")
    func wrapsInOrder() {
        let bytes = (0..<800).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        var buffer = InboundBuffer()
        defer { buffer.release() }
        append(bytes[..<500], to: &buffer)
        buffer.consume(400)
        let first = buffer.front.baseAddress
        append(bytes[500...], to: &buffer)
        #expect(buffer.capacity == 512)
        #expect(buffer.isWrapped == true)
        #expect(buffer.front.baseAddress == first)
        #expect(Array(buffer.front) == Array(bytes[400..<512]))
        #expect(Array(buffer.back) == Array(bytes[512...]))
        buffer.consume(112)
        #expect(buffer.isWrapped == false)
        #expect(Array(buffer.front) == Array(bytes[512...]))
        #expect(buffer.back.isEmpty)
    }

    @Test("merge keeps the old block unchanged until the retired blocks are freed")
    func mergeKeepsTheOldBlockUntilItIsFreed() {
        let bytes = (0..<800).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        var buffer = InboundBuffer()
        defer { buffer.release() }
        append(bytes[..<500], to: &buffer)
        buffer.consume(400)
        append(bytes[500...], to: &buffer)
        let (front, back) = (buffer.front, buffer.back)
        var retired = RetiredBlocks()
        buffer.merge(&retired)
        #expect(!buffer.isWrapped && buffer.back.isEmpty)
        #expect(buffer.front.baseAddress != front.baseAddress)
        #expect(Array(buffer.front) == Array(bytes[400...]))
        buffer.consume(300)
        buffer.settle()
        #expect(retired.isEmpty == false)
        #expect(Array(front) + Array(back) == Array(bytes[400...]), "lent spans changed")
        retired.free()
        #expect(retired.isEmpty == true)
        #expect(unread(buffer) == Array(bytes[700...]))
    }

    @Test("merge does nothing when the bytes are in one piece")
    func mergeOfOnePieceDoesNothing() {
        var buffer = InboundBuffer()
        defer { buffer.release() }
        var retired = RetiredBlocks()
        buffer.merge(&retired)
        append([1, 2, 3], to: &buffer)
        let base = buffer.base
        buffer.merge(&retired)
        #expect(buffer.base == base)
        #expect(retired.isEmpty == true)
    }

    // MARK: Lent bytes

    @Test("the buffer uses lent bytes in place, and settle copies the unread ones")
    func lentBytesAreUsedInPlaceAndCopiedBySettle() {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 300, alignment: 1)
        memory.copyBytes(from: (0..<300).map { UInt8(truncatingIfNeeded: $0) })
        var buffer = InboundBuffer()
        defer { buffer.release() }
        buffer.lend(UnsafeRawBufferPointer(memory))
        #expect(buffer.isLent && buffer.base == memory.baseAddress)
        buffer.consume(100)
        #expect(buffer.front.baseAddress == UnsafeRawPointer(memory.baseAddress)?.advanced(by: 100))
        buffer.settle()
        #expect(buffer.isLent == false)
        memory.deallocate()
        #expect(unread(buffer) == (100..<300).map { UInt8(truncatingIfNeeded: $0) })
    }

    @Test("an empty buffer owns no memory after settle")
    func emptyOwnsNothing() {
        var buffer = InboundBuffer()
        buffer.settle()
        #expect(buffer.base == nil && buffer.capacity == 0)
        append([1, 2, 3], to: &buffer)
        buffer.consume(3)
        buffer.settle()
        #expect(buffer.base == nil && buffer.capacity == 0)
        let lent: [UInt8] = [1, 2, 3]
        lent.withUnsafeBytes {
            buffer.lend($0)
            buffer.consume(3)
            buffer.settle()
        }
        #expect(buffer.base == nil && buffer.capacity == 0 && !buffer.isLent)
    }

    @Test("consume reduces the searched count by the bytes consumed, down to zero")
    func searchedShrinksByWhatIsConsumed() {
        var buffer = InboundBuffer()
        defer { buffer.release() }
        append(repeatElement(1, count: 100), to: &buffer)
        buffer.searched = 60
        buffer.consume(25)
        #expect(buffer.searched == 35)
        buffer.settle()
        append(repeatElement(1, count: 1000), to: &buffer)
        #expect(buffer.searched == 35)
        buffer.consume(36)
        #expect(buffer.searched == 0)
    }

    private func append(_ bytes: some Sequence<UInt8>, to buffer: inout InboundBuffer) {
        Array(bytes).withUnsafeBytes { buffer.append($0) }
    }

    private func unread(_ buffer: borrowing InboundBuffer) -> [UInt8] {
        Array(buffer.front) + Array(buffer.back)
    }
}
