import Glibc

/// A connection's unsent bytes: a chain of chunks, the first of which may be in flight.
@usableFromInline
package struct OutboundQueue: ~Copyable {
    @usableFromInline var first: UnsafeMutablePointer<Chunk>?
    @usableFromInline var last: UnsafeMutablePointer<Chunk>?
    /// The number of unsent bytes.
    @usableFromInline package internal(set) var count = 0
    /// Allocated only while files wait, since most queues never have any.
    private var files: UnsafeMutablePointer<FileBacklog>?
    // For connected datagram sockets: see OutboundQueue+Datagrams.
    /// The number of complete datagrams, including one in flight.
    var datagramCount: UInt32 = 0
    var gathered = GatheredDatagram.none
    /// The datagram in flight was refused once for the error of an earlier one.
    var isSecondTry = false
    @usableFromInline var shape = Shape.general

    package init() {}

    /// The front is submitted; it does not change until `complete` or `clear`.
    package var isInFlight: Bool { shape.contains(.inFlight) }

    /// The bytes of files that are not read yet and use no memory.
    package var fileCount: Int { files?.pointee.count ?? 0 }

    /// Bytes, and the fixed cost of each datagram.
    var memory: Int { count &+ Int(datagramCount) &* Self.datagramCost }

    /// The value that the limit applies to: includes a cost for each open file, which holds a
    /// descriptor.
    var held: Int { memory + (files?.pointee.parts ?? 0) * Self.fileCost }

    /// The value that the marks apply to: includes unread file bytes, and a cost for each open
    /// file.
    package var backlog: Int {
        guard let files else { return memory }
        return memory + files.pointee.count + files.pointee.parts * Self.smallRest
    }

    /// The errno of a failed file read.
    package var fileError: Int32? { files?.pointee.error }

    package var isEmpty: Bool { count == 0 && fileCount == 0 }

    /// All bytes to send, if they are one reply and not in flight.
    @inlinable
    @inline(__always)
    var single: (bytes: UnsafeRawPointer, count: Int)? {
        guard shape == .single else { return nil }
        return (UnsafeRawPointer(first.unsafelyUnwrapped.bytes), count)
    }

    /// Marks the reply as submitted.
    @inlinable
    @inline(__always)
    mutating func singleTookOff() { shape = .singleInFlight }

    /// The remaining bytes, if this few, move from a standard chunk to a small one. So slow readers
    /// use little more memory than their unsent bytes.
    static let smallRest = 16_384

    /// With the default limit, a connection holds at most 1,024 files.
    static let fileCost = 65_536

    /// Pieces above this size justify a system call of their own, to save the copy.
    static let largePiece = 16_383

    /// Whether no chunk is queued or in flight.
    var isIdle: Bool { first == nil }

    /// The fast path for the common case: an empty queue and a reply that fits into one chunk.
    /// Returns memory that the caller fills at once with `count` bytes, from 1 to `largePiece`.
    /// Returns nil, without a change, if the queue is not empty or the pool has no chunk.
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
            let chunk = tail(pool)
            let part = min(left, chunk.pointee.room)
            (chunk.bytes + chunk.pointee.end).copyMemory(from: source, byteCount: part)
            chunk.pointee.end += part
            source += part
            left -= part
        }
        count += bytes.count
    }

    /// Returns the next bytes to send, marked in flight. Nil if there are none or some are in
    /// flight.
    @inline(__always)
    package mutating func nextToSend(_ pool: ChunkPool) -> UnsafeRawBufferPointer? {
        guard !isInFlight, let front = first else { return nil }
        if front.pointee.count == 0 && !makeFront(pool) { return nil }
        guard let first else { return nil }
        shape.insert(.inFlight)
        return UnsafeRawBufferPointer(
            start: first.bytes + first.pointee.start, count: first.pointee.count)
    }

    /// Makes the first chunk hold bytes: skips empty reservations, or reads from a file. False
    /// without bytes.
    @inline(never)
    private mutating func makeFront(_ pool: ChunkPool) -> Bool {
        guard !isEmpty else { return false }
        dropEmptyFront(pool)
        guard let first else { return false }
        return first.pointee.count > 0 || fill(first)
    }

    /// Like `complete`, but only for one whole reply; otherwise returns false without a change.
    @inlinable
    @inline(__always)
    mutating func completeWhole(_ amount: Int, _ pool: ChunkPool) -> Bool {
        guard shape == .singleInFlight, amount == count else { return false }
        completeSingle(pool)
        return true
    }

    /// Called when the kernel has accepted `amount` bytes of those in flight.
    package mutating func complete(_ amount: Int, _ pool: ChunkPool) {
        guard isInFlight, let chunk = first else {
            preconditionFailure("a send was answered that was not in flight")
        }
        precondition(amount <= chunk.pointee.count, "more sent than submitted")
        shape = .general
        completePart(amount, chunk, pool)
    }

    /// Called when the kernel has accepted the whole reply.
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
            // Its next piece is read when the chunk is sent.
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
        // Small files use small chunks, since there may be many.
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

    /// Reads a file's next piece into its chunk. A file that has become shorter is an error, since
    /// its length was promised to the peer.
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

    /// Frees all chunks of an empty queue, including that of an empty reservation.
    mutating func dropIfEmpty(_ pool: ChunkPool) {
        if isEmpty && !isInFlight { clear(pool) }
    }

    /// Drops all bytes; a send in flight must have been answered.
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

    /// The last chunk, or a new one if that has no room.
    mutating func tail(_ pool: ChunkPool) -> UnsafeMutablePointer<Chunk> {
        if let last, last.pointee.room > 0 { return last }
        let chunk = pool.take(capacity: Chunk.standardCapacity)
        link(chunk)
        return chunk
    }

    /// Adds a chunk at the end.
    mutating func link(_ chunk: UnsafeMutablePointer<Chunk>) {
        if first == nil && chunk.pointee.isStandard {
            shape = .single
        } else {
            shape.remove(.single)
        }
        if let last { last.pointee.next = chunk } else { first = chunk }
        last = chunk
    }

    /// Skips empty chunks in front, which an empty reservation can leave.
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

/// The layout of a queue's bytes, for a one-comparison test of the common case.
@usableFromInline
struct Shape: OptionSet {
    @usableFromInline let rawValue: UInt8
    @inlinable init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The front is in flight.
    @inlinable static var inFlight: Shape { Shape(rawValue: 1 << 0) }
    /// All bytes lie in one standard chunk, from its start.
    @inlinable static var single: Shape { Shape(rawValue: 1 << 1) }

    @inlinable static var general: Shape { [] }
    @inlinable static var singleInFlight: Shape { [.single, .inFlight] }
}

/// The files of a queue.
private struct FileBacklog {
    /// The number of bytes that are not read yet.
    var count = 0
    var parts = 0
    var error: Int32?
}
