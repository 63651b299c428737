import Glibc

/// A piece of outbound memory with its bookkeeping in front, linked to the next one.
///
/// Never moved and never grown: a kernel may be reading the part that was handed over while the
/// part behind is written.
@usableFromInline
package struct Chunk {
    var next: UnsafeMutablePointer<Chunk>?
    let capacity: Int
    /// The bytes in use are `start..<end`.
    var start = 0
    var end = 0
    /// What is still to be read into this chunk, again and again, before the next one's turn.
    var file: FilePart?
    /// A datagram that is complete: nothing may join it.
    var isSealed = false

    var count: Int { end - start }
    var room: Int { file == nil && !isSealed ? capacity - end : 0 }

    /// Bytes that a pooled chunk holds.
    package static let standardCapacity = 65_536

    static func make(capacity: Int) -> UnsafeMutablePointer<Chunk> {
        let size = MemoryLayout<Chunk>.stride + capacity
        let memory = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        let chunk = memory.bindMemory(to: Chunk.self, capacity: 1)
        chunk.initialize(to: Chunk(next: nil, capacity: capacity))
        return chunk
    }

    static func destroy(_ chunk: UnsafeMutablePointer<Chunk>) {
        UnsafeMutableRawPointer(chunk).deallocate()
    }
}

extension UnsafeMutablePointer<Chunk> {
    var bytes: UnsafeMutableRawPointer {
        UnsafeMutableRawPointer(self) + MemoryLayout<Chunk>.stride
    }
}

/// A part of an open file that is to be sent; whoever drops it closes the descriptor.
package struct FilePart {
    let descriptor: CInt
    var offset: Int
    var left: Int
}

/// A loop's standard chunks, last in first out, so that the one in the cache is taken first. Keeps
/// a bounded number.
package final class ChunkPool {
    @exclusivity(unchecked) private var free: UnsafeMutablePointer<Chunk>?
    @exclusivity(unchecked) private var freeCount = 0
    /// Chunks in connections' hands, of any size.
    @exclusivity(unchecked) package private(set) var inUse = 0
    private let limit: Int

    package init(limit: Int = 64) { self.limit = limit }

    deinit {
        while let chunk = free {
            free = chunk.pointee.next
            Chunk.destroy(chunk)
        }
    }

    @inline(__always)
    func take() -> UnsafeMutablePointer<Chunk> {
        guard let chunk = free else { return take(capacity: Chunk.standardCapacity) }
        inUse += 1
        free = chunk.pointee.next
        freeCount -= 1
        chunk.pointee.next = nil
        chunk.pointee.start = 0
        chunk.pointee.end = 0
        chunk.pointee.isSealed = false
        return chunk
    }

    @inline(never)
    func take(capacity: Int) -> UnsafeMutablePointer<Chunk> {
        if capacity == Chunk.standardCapacity && free != nil { return take() }
        inUse += 1
        return Chunk.make(capacity: capacity)
    }

    @inline(__always)
    func give(_ chunk: UnsafeMutablePointer<Chunk>) {
        inUse -= 1
        guard chunk.pointee.capacity == Chunk.standardCapacity, freeCount < limit,
            chunk.pointee.file == nil
        else { return destroy(chunk) }
        chunk.pointee.next = free
        free = chunk
        freeCount += 1
    }

    @inline(never)
    private func destroy(_ chunk: UnsafeMutablePointer<Chunk>) {
        if let file = chunk.pointee.file { Glibc.close(file.descriptor) }
        Chunk.destroy(chunk)
    }
}
