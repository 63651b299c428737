import Glibc

/// A connection's bytes that the kernel has not taken yet: a chain of chunks, the first of which
/// may be in flight.
@usableFromInline
package struct OutboundQueue: ~Copyable {
    @usableFromInline var first: UnsafeMutablePointer<Chunk>?
    @usableFromInline var last: UnsafeMutablePointer<Chunk>?
    /// Unsent bytes.
    @usableFromInline package internal(set) var count = 0
    /// Only while files are waiting: most queues never have any.
    private var files: UnsafeMutablePointer<FileBacklog>?
    @usableFromInline var shape = Shape.general
    // Of connected datagram sockets: see OutboundQueue+Datagrams.
    var gathered = GatheredDatagram.none
    /// What is in flight was refused once, for something that is not its own.
    var isSecondTry = false
    /// Datagrams that are complete and not gone; one of them perhaps in flight.
    var datagramCount: UInt32 = 0

    package init() {}

    /// The front is submitted; it stays put until `complete` or `clear`.
    package var isInFlight: Bool { shape.contains(.inFlight) }

    /// Bytes of files that have not been read yet: they take no memory.
    package var fileCount: Int { files?.pointee.count ?? 0 }

    /// What the limit is measured against: bytes, and what each datagram takes besides its own.
    var memory: Int { count &+ Int(datagramCount) &* Self.datagramCost }

    /// What the marks are measured against: files count too, and each has a descriptor open.
    package var backlog: Int {
        guard let files else { return memory }
        return memory + files.pointee.count + files.pointee.parts * Self.smallRest
    }

    /// Why a file could not be read.
    package var fileError: Int32? { files?.pointee.error }

    package var isEmpty: Bool { count == 0 && fileCount == 0 }

    /// All there is to send, if that is one reply and is not on its way.
    @inlinable
    @inline(__always)
    var single: (bytes: UnsafeRawPointer, count: Int)? {
        guard shape == .single else { return nil }
        return (UnsafeRawPointer(first.unsafelyUnwrapped.bytes), count)
    }

    /// It was handed over without an answer.
    @inlinable
    @inline(__always)
    mutating func singleTookOff() { shape = .singleInFlight }

    /// A rest this small leaves its standard chunk for one of its own size, so that many slow
    /// readers cost what they hold.
    static let smallRest = 16_384

    /// Pieces above this are worth a kernel entry of their own to save the copy.
    static let largePiece = 16_383

    /// Nothing is owed, and nothing on its way.
    var isIdle: Bool { first == nil }

    /// Most replies fit into one chunk, and most queues are empty. Where the caller is to put the
    /// `count` bytes at once, at least one and at most `largePiece`; nil, and nothing done, if they
    /// come behind others or no chunk is at hand.
    @inline(__always)
    mutating func appendFirst(_ count: Int, _ pool: ChunkPool) -> UnsafeMutableRawPointer? {
        guard first == nil, let chunk = pool.takeFree() else { return nil }
        first = chunk
        last = chunk
        chunk.pointee.end = count
        self.count = count
        shape = .single
        return chunk.bytes
    }

    package mutating func append(_ bytes: UnsafeRawBufferPointer, _ pool: ChunkPool) {
        guard let source = bytes.baseAddress, let last, last.pointee.room >= bytes.count else {
            return appendInPieces(bytes, pool)
        }
        (last.bytes + last.pointee.end).copyMemory(from: source, byteCount: bytes.count)
        last.pointee.end &+= bytes.count
        count &+= bytes.count
    }

    @inline(never)
    private mutating func appendInPieces(_ bytes: UnsafeRawBufferPointer, _ pool: ChunkPool) {
        guard var source = bytes.baseAddress, bytes.count > 0 else { return }
        var left = bytes.count
        while left > 0 {
            let chunk = tail(withRoom: 1, pool)
            let part = min(left, chunk.pointee.room)
            (chunk.bytes + chunk.pointee.end).copyMemory(from: source, byteCount: part)
            chunk.pointee.end += part
            source += part
            left -= part
        }
        count += bytes.count
    }

    /// Memory behind the last byte, at least `capacity` of it; `commit` says how much was filled.
    package mutating func reserve(
        _ capacity: Int, _ pool: ChunkPool
    ) -> UnsafeMutableRawBufferPointer {
        let chunk = tail(withRoom: capacity, pool)
        return UnsafeMutableRawBufferPointer(
            start: chunk.bytes + chunk.pointee.end, count: chunk.pointee.room)
    }

    package mutating func commit(_ amount: Int, _ pool: ChunkPool) {
        guard amount > 0, let last else { return commitNothing(pool) }
        guard amount <= last.pointee.room else { return commitGathered(amount, pool) }
        last.pointee.end += amount
        count += amount
    }

    /// The next bytes to send, marked in flight; nil if there are none or some are already.
    @inline(__always)
    package mutating func takeOff(_ pool: ChunkPool) -> UnsafeRawBufferPointer? {
        guard !isInFlight, let front = first else { return nil }
        if front.pointee.count == 0 && !makeFront(pool) { return nil }
        guard let first else { return nil }
        shape.insert(.inFlight)
        return UnsafeRawBufferPointer(
            start: first.bytes + first.pointee.start, count: first.pointee.count)
    }

    /// Has bytes in front if there are any: behind a reservation that came to nothing, or read from
    /// a file.
    @inline(never)
    private mutating func makeFront(_ pool: ChunkPool) -> Bool {
        guard !isEmpty else { return false }
        dropEmptyFront(pool)
        guard let first else { return false }
        return first.pointee.count > 0 || fill(first)
    }

    /// As `complete`, if that was one reply and all of it; else false, and nothing is done.
    @inlinable
    @inline(__always)
    mutating func completeWhole(_ amount: Int, _ pool: ChunkPool) -> Bool {
        guard shape == .singleInFlight, amount == count else { return false }
        completeSingle(pool)
        return true
    }

    /// The kernel took `amount` bytes of what was in flight.
    package mutating func complete(_ amount: Int, _ pool: ChunkPool) {
        guard isInFlight, let chunk = first else {
            preconditionFailure("a send was answered that was not in flight")
        }
        precondition(amount <= chunk.pointee.count, "more sent than submitted")
        shape = .general
        completePart(amount, chunk, pool)
    }

    /// The kernel took it at once.
    @inlinable
    @inline(__always)
    mutating func completeSingle(_ pool: ChunkPool) {
        count = 0
        pool.giveStandard(first.unsafelyUnwrapped)
        first = nil
        last = nil
        shape = .general
    }

    private mutating func completePart(
        _ amount: Int, _ chunk: UnsafeMutablePointer<Chunk>, _ pool: ChunkPool
    ) {
        count -= amount
        chunk.pointee.start += amount
        if isEmpty {
            dropIfEmpty(pool)
        } else if let unread = chunk.pointee.unreadOfFile, unread > 0 {
            // Its next piece is read when it is its turn.
        } else if chunk.pointee.count == 0 {
            first = chunk.pointee.next
            if chunk.pointee.hasFile { filePartGone() }
            pool.give(chunk)
        } else if chunk.pointee.count <= Self.smallRest && chunk.pointee.next == nil {
            shrinkOnly(chunk, pool)
        }
    }

    // MARK: Files

    package mutating func append(_ file: consuming FilePart, _ pool: ChunkPool) {
        let length = file.left
        // Small files get small chunks: there may be many.
        let chunk = pool.take(capacity: min(length, Chunk.standardCapacity))
        chunk.pointee.hold(file)
        if let last { last.pointee.next = chunk } else { first = chunk }
        last = chunk
        shape.remove(.single)
        let files = self.files ?? .allocate(capacity: 1)
        if self.files == nil { files.initialize(to: FileBacklog()) }
        files.pointee.parts += 1
        files.pointee.count += length
        self.files = files
    }

    package mutating func clearFileError() { files?.pointee.error = nil }

    private mutating func filePartGone() {
        files?.pointee.parts -= 1
        if files?.pointee.parts == 0 { forgetFiles() }
    }

    private mutating func forgetFiles() {
        files?.deallocate()
        files = nil
    }

    /// Reads a file's next piece into its chunk. A file that has become shorter is an error: its
    /// length was promised.
    private mutating func fill(_ chunk: UnsafeMutablePointer<Chunk>) -> Bool {
        guard chunk.pointee.hasFile else { return false }
        let result = chunk.pointee.readFile(into: chunk.bytes)
        guard result > 0 else {
            files?.pointee.error = result == 0 ? ENODATA : errno
            return false
        }
        files?.pointee.count -= result
        count += result
        return true
    }

    /// Nothing to send needs no memory, not even what a reservation took that came to nothing.
    mutating func dropIfEmpty(_ pool: ChunkPool) {
        if isEmpty && !isInFlight { clear(pool) }
    }

    /// Drops everything; what was in flight must have been answered.
    package mutating func clear(_ pool: ChunkPool) {
        shape = .general
        count = 0
        gathered = .none
        datagramCount = 0
        isSecondTry = false
        forgetFiles()
        while let chunk = first {
            first = chunk.pointee.next
            pool.give(chunk)
        }
        last = nil
    }

    private mutating func tail(withRoom room: Int, _ pool: ChunkPool) -> UnsafeMutablePointer<Chunk>
    {
        if let last, last.pointee.room >= room { return last }
        let chunk = pool.take(capacity: max(room, Chunk.standardCapacity))
        if first == nil && chunk.pointee.isStandard {
            shape = .single
        } else {
            shape.remove(.single)
        }
        if let last { last.pointee.next = chunk } else { first = chunk }
        last = chunk
        return chunk
    }

    /// A reservation that nothing was committed to can leave an empty chunk in front.
    private mutating func dropEmptyFront(_ pool: ChunkPool) {
        while let chunk = first, chunk.pointee.count == 0, chunk.pointee.unreadOfFile ?? 0 == 0,
            let next = chunk.pointee.next
        {
            first = next
            if chunk.pointee.hasFile { filePartGone() }
            pool.give(chunk)
        }
    }

    private mutating func shrinkOnly(_ chunk: UnsafeMutablePointer<Chunk>, _ pool: ChunkPool) {
        guard chunk.pointee.limit >= Chunk.standardCapacity else { return }
        let small = pool.take(capacity: Self.smallRest)
        small.bytes.copyMemory(
            from: chunk.bytes + chunk.pointee.start, byteCount: chunk.pointee.count)
        small.pointee.end = chunk.pointee.count
        pool.give(chunk)
        first = small
        last = small
    }
}

/// How a queue's bytes lie, as far as the common case can tell by one comparison.
@usableFromInline
struct Shape: OptionSet {
    @usableFromInline let rawValue: UInt8
    @inlinable init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The front is on its way.
    @inlinable static var inFlight: Shape { Shape(rawValue: 1 << 0) }
    /// All bytes lie in one standard chunk, from its start.
    @inlinable static var single: Shape { Shape(rawValue: 1 << 1) }

    @inlinable static var general: Shape { [] }
    @inlinable static var singleInFlight: Shape { [.single, .inFlight] }
}

/// What is to be sent of files.
private struct FileBacklog {
    /// Bytes that have not been read yet.
    var count = 0
    var parts = 0
    var error: Int32?
}
