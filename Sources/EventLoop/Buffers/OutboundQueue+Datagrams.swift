/// What a connected datagram socket has to send: each datagram goes out in one piece, however it
/// was written.
///
/// The chunks up to a sealed one are a datagram. They are joined when it is its turn, so nothing is
/// moved of those that lie in one chunk, as most do. An empty datagram counts as a byte: so a queue
/// that has something to send never looks empty.
extension OutboundQueue {
    /// What one counts for besides its bytes: its chunk's bookkeeping and the least that it holds.
    /// Many small ones take more memory than their bytes.
    static var datagramCost: Int { 256 }

    /// Bytes of the datagram at the end. None are an empty one, unless others come before `seal`.
    mutating func gather(_ bytes: UnsafeRawBufferPointer, _ pool: ChunkPool) {
        guard let source = bytes.baseAddress, bytes.count > 0 else {
            guard gathered == .none else { return }
            _ = datagramTail(withRoom: 1, pool)
            gathered = .empty
            return count += 1
        }
        let chunk = datagramTail(withRoom: bytes.count, pool)
        (chunk.bytes + chunk.pointee.end).copyMemory(from: source, byteCount: bytes.count)
        gatheredBytes(bytes.count, chunk)
    }

    private mutating func gatheredBytes(_ amount: Int, _ chunk: UnsafeMutablePointer<Chunk>) {
        if gathered == .empty { count -= 1 }
        gathered = .bytes
        chunk.pointee.end += amount
        count += amount
    }

    /// As `reserve`. Until `commit` the chunk is sealed, by which that notices whose it is.
    mutating func reserveGathered(
        _ capacity: Int, _ pool: ChunkPool
    ) -> UnsafeMutableRawBufferPointer {
        // At least one: the end of an empty datagram, which is sealed, has room for none.
        let chunk = datagramTail(withRoom: max(1, capacity), pool)
        let room = UnsafeMutableRawBufferPointer(
            start: chunk.bytes + chunk.pointee.end, count: chunk.pointee.room)
        chunk.pointee.seal()
        return room
    }

    @inline(never)
    mutating func commitGathered(_ amount: Int, _ pool: ChunkPool) {
        guard let last, last.pointee.isSealed else {
            preconditionFailure("more committed than reserved")
        }
        last.pointee.unseal()
        precondition(amount <= last.pointee.room, "more committed than reserved")
        gatheredBytes(amount, last)
    }

    @inline(never)
    mutating func commitNothing(_ pool: ChunkPool) {
        // On a stream only a file's chunk is sealed.
        if let last, last.pointee.isSealed, !last.pointee.hasFile { last.pointee.unseal() }
        dropIfEmpty(pool)
    }

    /// What was gathered is a datagram of its own, and nothing joins it.
    mutating func seal() {
        guard gathered != .none, let last else { return }
        last.pointee.seal()
        gathered = .none
        datagramCount += 1
    }

    /// The next datagram, in one piece and marked in flight; nil if none is sealed or one is on its
    /// way.
    mutating func takeOffDatagram(_ pool: ChunkPool) -> UnsafeRawBufferPointer? {
        guard !isInFlight, datagramCount > 0, let front = first else { return nil }
        let whole = front.pointee.isSealed ? front : joinFront(front, pool)
        shape = .inFlight
        return UnsafeRawBufferPointer(
            start: whole.bytes + whole.pointee.start, count: whole.pointee.count)
    }

    private mutating func joinFront(
        _ front: UnsafeMutablePointer<Chunk>, _ pool: ChunkPool
    ) -> UnsafeMutablePointer<Chunk> {
        var (end, size) = (front, front.pointee.count)
        while !end.pointee.isSealed {
            guard let next = end.pointee.next else {
                preconditionFailure("a datagram without an end")
            }
            end = next
            size += next.pointee.count
        }
        let whole = pool.take(capacity: max(size, 1))
        let rest = end.pointee.next
        var left: UnsafeMutablePointer<Chunk>? = front
        while let part = left, part != rest {
            left = part.pointee.next
            (whole.bytes + whole.pointee.end).copyMemory(
                from: part.bytes + part.pointee.start, byteCount: part.pointee.count)
            whole.pointee.end += part.pointee.count
            pool.give(part)
        }
        whole.pointee.seal()
        whole.pointee.next = rest
        first = whole
        if rest == nil { last = whole }
        return whole
    }

    /// The kernel took what was in flight. Returns what it counted for; 0 if it took nothing of
    /// what has bytes, which then is to be sent again.
    mutating func completeDatagram(_ amount: Int, _ pool: ChunkPool) -> Int {
        guard amount == 0, let first, first.pointee.count > 0 else { return dropDatagram(pool) }
        shape = .general
        return 0
    }

    /// Drops what was in flight. Returns what it counted for.
    mutating func dropDatagram(_ pool: ChunkPool) -> Int {
        guard isInFlight, let chunk = first else {
            preconditionFailure("a send was answered that was not in flight")
        }
        let size = max(1, chunk.pointee.count)
        shape = .general
        isSecondTry = false
        count -= size
        datagramCount -= 1
        first = chunk.pointee.next
        if first == nil { last = nil }
        pool.give(chunk)
        dropIfEmpty(pool)
        return size
    }

    /// What was in flight is to be sent again, which each datagram may be once. False if it was.
    mutating func tryDatagramAgain() -> Bool {
        precondition(isInFlight, "a send was answered that was not in flight")
        guard !isSecondTry else { return false }
        isSecondTry = true
        shape = .general
        return true
    }

    /// Chunks of the standard size are for what goes out at once: those that wait may be many.
    private mutating func datagramTail(
        withRoom room: Int, _ pool: ChunkPool
    ) -> UnsafeMutablePointer<Chunk> {
        if let last, last.pointee.room >= room { return last }
        let least = first == nil ? Chunk.standardCapacity : Self.datagramCost
        let chunk = pool.take(capacity: max(room, least))
        if let last { last.pointee.next = chunk } else { first = chunk }
        last = chunk
        shape.remove(.single)
        return chunk
    }
}

/// What is written of the datagram at the end of a queue.
enum GatheredDatagram: UInt8 {
    case none
    /// An empty write: it counts as a byte, as long as no others come.
    case empty
    case bytes
}
