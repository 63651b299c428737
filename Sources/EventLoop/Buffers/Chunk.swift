import Glibc

/// A piece of outbound memory with its bookkeeping in front, linked to the next one.
///
/// Never moved and never grown: a kernel may be reading the part that was handed over while the
/// part behind is written.
@usableFromInline
package struct Chunk: ~Copyable {
    @usableFromInline var next: UnsafeMutablePointer<Chunk>?
    /// The bytes in use are `start..<end`.
    var start = 0
    var end = 0
    /// Where writing has to end: the capacity, or 0 when nothing may join what is there.
    private(set) var limit: Int
    let capacity: Int
    /// What is still to be read into this chunk, again and again, before the next one's turn.
    private var file: FilePart?

    init(capacity: Int) {
        self.capacity = capacity
        limit = capacity
    }

    var count: Int { end &- start }
    /// Not above 0 if nothing may join.
    var room: Int { limit &- end }

    /// Has all the bytes of a pooled chunk to write to.
    var isStandard: Bool { limit == Self.standardCapacity }

    /// What is there is a datagram: nothing may join it.
    mutating func seal() { limit = 0 }
    var isSealed: Bool { limit == 0 }
    mutating func unseal() { limit = capacity }

    /// Nothing joins the bytes of a file.
    mutating func hold(_ part: consuming FilePart) {
        file = consume part
        limit = 0
    }

    var hasFile: Bool { unreadOfFile != nil }

    /// Bytes of its file that are still to be read; nil if it has none.
    var unreadOfFile: Int? {
        switch file {
        case .some(let part): part.left
        case nil: nil
        }
    }

    /// Reads the next piece of its file, which takes the place of the bytes that were there. As
    /// `pread` answers: 0 at the end, -1 with `errno` after an error.
    mutating func readFile(into bytes: UnsafeMutableRawPointer) -> Int {
        guard let count = file?.read(into: bytes, atMost: capacity) else { return 0 }
        guard count > 0 else { return count }
        start = 0
        end = count
        return count
    }

    /// Bytes that a pooled chunk holds.
    package static let standardCapacity = 65_536
    private static let pageSize = Int(sysconf(CInt(_SC_PAGESIZE)))

    static func make(capacity: Int) -> UnsafeMutablePointer<Chunk> {
        let size = MemoryLayout<Chunk>.stride + capacity
        let memory = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        let chunk = memory.bindMemory(to: Chunk.self, capacity: 1)
        chunk.initialize(to: Chunk(capacity: capacity))
        return chunk
    }

    /// malloc keeps what is freed between blocks that are in use, and so most of what a crowd of
    /// slow readers was owed: the pages of a large chunk go back to the kernel before.
    static func destroy(_ chunk: UnsafeMutablePointer<Chunk>) {
        let capacity = chunk.pointee.capacity
        chunk.deinitialize(count: 1)
        if capacity >= standardCapacity {
            let start = chunk.bytes.alignedUp(toMultipleOf: pageSize)
            let end = (chunk.bytes + capacity).alignedDown(toMultipleOf: pageSize)
            madvise(start, end - start, MADV_DONTNEED)
        }
        UnsafeMutableRawPointer(chunk).deallocate()
    }
}

extension UnsafeMutablePointer<Chunk> {
    @inlinable
    var bytes: UnsafeMutableRawPointer {
        UnsafeMutableRawPointer(self) + MemoryLayout<Chunk>.stride
    }
}

/// A part of an open file that is to be sent. It closes the descriptor, which is its own.
package struct FilePart: ~Copyable {
    private let descriptor: CInt
    private var offset: Int
    private(set) var left: Int

    package init(descriptor: CInt, offset: Int, left: Int) {
        self.descriptor = descriptor
        self.offset = offset
        self.left = left
    }

    deinit { Glibc.close(descriptor) }

    fileprivate mutating func read(into bytes: UnsafeMutableRawPointer, atMost most: Int) -> Int {
        var result: Int
        repeat {
            result = pread(descriptor, bytes, min(left, most), off_t(offset))
        } while result < 0 && errno == EINTR
        guard result > 0 else { return result }
        offset += result
        left -= result
        return result
    }
}

/// A loop's standard chunks, last in first out, so that the one in the cache is taken first. Keeps
/// as many as connections have in their hands, so that a busy loop's are used again and those of a
/// crowd go with it, and always `limit`.
@usableFromInline
package final class ChunkPool {
    @usableFromInline
    @exclusivity(unchecked) var free: UnsafeMutablePointer<Chunk>?
    @usableFromInline
    @exclusivity(unchecked) var freeCount = 0
    /// Chunks that exist, of any size.
    @exclusivity(unchecked) private var total = 0
    @usableFromInline let limit: Int

    /// Chunks in connections' hands.
    package var inUse: Int { total - freeCount }

    package init(limit: Int = 64) { self.limit = limit }

    deinit {
        while let chunk = free {
            free = chunk.pointee.next
            Chunk.destroy(chunk)
        }
    }

    /// A standard one that has been given back; nil if there is none.
    @inline(__always)
    func takeFree() -> UnsafeMutablePointer<Chunk>? {
        guard let chunk = free else { return nil }
        free = chunk.pointee.next
        freeCount &-= 1
        chunk.pointee.next = nil
        chunk.pointee.start = 0
        chunk.pointee.end = 0
        return chunk
    }

    @inline(never)
    func take(capacity: Int) -> UnsafeMutablePointer<Chunk> {
        if capacity == Chunk.standardCapacity, let chunk = takeFree() { return chunk }
        total += 1
        return Chunk.make(capacity: capacity)
    }

    @inline(__always)
    func give(_ chunk: UnsafeMutablePointer<Chunk>) {
        guard chunk.pointee.isStandard else { return giveRare(chunk) }
        giveStandard(chunk)
    }

    /// As `give`, of a chunk of the standard size that anything may still join.
    @inlinable
    @inline(__always)
    func giveStandard(_ chunk: UnsafeMutablePointer<Chunk>) {
        guard freeCount < limit else { return giveRare(chunk) }
        chunk.pointee.next = free
        free = chunk
        freeCount &+= 1
    }

    @usableFromInline
    @inline(never)
    func giveRare(_ chunk: UnsafeMutablePointer<Chunk>) {
        if !chunk.pointee.hasFile {
            chunk.pointee.unseal()
            if chunk.pointee.isStandard && freeCount < most {
                chunk.pointee.next = free
                free = chunk
                freeCount &+= 1
                return
            }
        }
        destroy(chunk)
        // There is one less in use than before, so these are few.
        while freeCount > most, let other = takeFree() { destroy(other) }
    }

    /// Free chunks to be kept now.
    private var most: Int { max(limit, inUse) }

    private func destroy(_ chunk: UnsafeMutablePointer<Chunk>) {
        total -= 1
        Chunk.destroy(chunk)
    }
}
