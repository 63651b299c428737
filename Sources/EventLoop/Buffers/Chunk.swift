import Glibc

/// A piece of outbound memory with its bookkeeping in front, linked to the next one.
///
/// Never moved and never grown: the kernel may read submitted bytes while later ones are written.
@usableFromInline
package struct Chunk: ~Copyable {
    @usableFromInline var next: UnsafeMutablePointer<Chunk>?
    /// The bytes in use are `start..<end`.
    var start = 0
    var end = 0
    /// The end of writable memory: the capacity, or 0 when no bytes may join.
    private(set) var limit: Int
    let capacity: Int
    /// A file part whose unread bytes pass through this chunk, before the next chunk is sent.
    private var file: FilePart?

    init(capacity: Int) {
        self.capacity = capacity
        limit = capacity
    }

    var count: Int { end &- start }
    /// The writable bytes; at most 0 if no bytes may join.
    var room: Int { limit &- end }

    /// Whether this is a pooled chunk that bytes may join.
    var isStandard: Bool { limit == Self.standardCapacity }

    /// Marks the chunk as the end of a datagram that no bytes may join.
    mutating func seal() { limit = 0 }
    var isSealed: Bool { limit == 0 }
    mutating func unseal() { limit = capacity }

    /// Assigns a file part. No bytes may join a file's.
    mutating func hold(_ part: consuming FilePart) {
        file = consume part
        limit = 0
    }

    var hasFile: Bool { unreadOfFile != nil }

    /// The bytes of its file part that are not read yet; nil without a file part.
    var unreadOfFile: Int? {
        switch file {
        case .some(let part): part.left
        case nil: nil
        }
    }

    /// Reads the file's next piece over the chunk's previous bytes. Returns the result of `pread`:
    /// 0 at the file's end, -1 with `errno` after an error.
    mutating func readFile(into bytes: UnsafeMutableRawPointer) -> Int {
        guard let count = file?.read(into: bytes, atMost: capacity) else { return 0 }
        guard count > 0 else { return count }
        start = 0
        end = count
        return count
    }

    /// The capacity of a pooled chunk.
    package static let standardCapacity = 65_536
    private static let pageSize = Int(sysconf(CInt(_SC_PAGESIZE)))

    static func make(capacity: Int) -> UnsafeMutablePointer<Chunk> {
        let size = MemoryLayout<Chunk>.stride + capacity
        let memory = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        let chunk = memory.bindMemory(to: Chunk.self, capacity: 1)
        chunk.initialize(to: Chunk(capacity: capacity))
        return chunk
    }

    /// Frees a chunk. malloc keeps freed memory that lies between used blocks, which is most memory
    /// after many slow readers. Therefore madvise returns the pages of a large chunk to the kernel
    /// first.
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

/// A part of an open file to be sent. Owns its descriptor and closes it.
package struct FilePart: ~Copyable {
    private let descriptor: CInt
    private var offset: Int
    private(set) var left: Int

    package init(descriptor: CInt, offset: Int, left: Int) {
        self.descriptor = descriptor
        self.offset = offset
        self.left = left
    }

    /// Duplicates the descriptor, so that the caller may close its own at once. Throws the errno of
    /// fcntl.
    package init(duplicating descriptor: CInt, offset: Int, left: Int) throws(SystemError) {
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 3)
        guard copy >= 0 else { throw SystemError(errno, "fcntl") }
        self.init(descriptor: copy, offset: offset, left: left)
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

/// A loop's free standard chunks, last in, first out, so that the next one is in the cache. Keeps
/// as many free chunks as connections use, and always up to `limit`. So a busy loop reuses its
/// chunks, and those of a crowd are freed when it leaves.
@usableFromInline
package final class ChunkPool {
    @usableFromInline
    @exclusivity(unchecked) var free: UnsafeMutablePointer<Chunk>?
    @usableFromInline
    @exclusivity(unchecked) var freeCount = 0
    /// Existing chunks of any size.
    @exclusivity(unchecked) private var total = 0
    @usableFromInline let limit: Int

    /// The number of chunks that connections use.
    package var inUse: Int { total - freeCount }

    package init(limit: Int = 64) { self.limit = limit }

    deinit {
        while let chunk = free {
            free = chunk.pointee.next
            Chunk.destroy(chunk)
        }
    }

    /// Returns a free standard chunk; nil if there is none.
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
        guard chunk.pointee.isStandard else { return giveSlow(chunk) }
        giveStandard(chunk)
    }

    /// Like `give`, but for a standard chunk that bytes may still join.
    @inlinable
    @inline(__always)
    func giveStandard(_ chunk: UnsafeMutablePointer<Chunk>) {
        guard freeCount < limit else { return giveSlow(chunk) }
        push(chunk)
    }

    @inlinable
    @inline(__always)
    func push(_ chunk: UnsafeMutablePointer<Chunk>) {
        chunk.pointee.next = free
        free = chunk
        freeCount &+= 1
    }

    @usableFromInline
    @inline(never)
    func giveSlow(_ chunk: UnsafeMutablePointer<Chunk>) {
        if !chunk.pointee.hasFile {
            chunk.pointee.unseal()
            if chunk.pointee.isStandard && freeCount < most { return push(chunk) }
        }
        destroy(chunk)
        // One chunk less is in use than before, so the loop frees few.
        while freeCount > most, let other = takeFree() { destroy(other) }
    }

    /// The most free chunks to keep now.
    private var most: Int { max(limit, inUse) }

    private func destroy(_ chunk: UnsafeMutablePointer<Chunk>) {
        total -= 1
        Chunk.destroy(chunk)
    }
}
