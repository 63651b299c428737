/// The queue of a connected datagram socket: each datagram is sent as a whole, however it was
/// written.
///
/// The chunks up to a sealed one form a datagram. They are joined just before the send, and most
/// datagrams lie in one chunk. An empty datagram counts as one byte, so that a queue with datagrams
/// to send is never empty.
extension OutboundQueue {
    /// The cost of a datagram besides its bytes: its chunk's bookkeeping and smallest size. Many
    /// small datagrams need more memory than their bytes.
    static var datagramCost: Int { 256 }

    /// Adds bytes to the datagram at the end. Zero bytes make an empty datagram, unless others
    /// follow before `seal`.
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

    mutating func gatheredBytes(_ amount: Int, _ chunk: UnsafeMutablePointer<Chunk>) {
        if gathered == .empty { count -= 1 }
        gathered = .bytes
        chunk.pointee.end += amount
        count += amount
    }

    mutating func commitGathered(_ amount: Int, _ pool: ChunkPool) {
        guard let last, last.pointee.isSealed else {
            preconditionFailure("more committed than reserved")
        }
        last.pointee.unseal()
        precondition(amount <= last.pointee.room, "more committed than reserved")
        gatheredBytes(amount, last)
    }

    mutating func commitNothing(_ pool: ChunkPool) {
        // On a stream, only the chunk of a file is sealed.
        if let last, last.pointee.isSealed, !last.pointee.hasFile { last.pointee.unseal() }
        dropIfEmpty(pool)
    }

    /// Completes the gathered datagram, which no bytes join from then on.
    mutating func seal() {
        guard gathered != .none, let last else { return }
        last.pointee.seal()
        gathered = .none
        datagramCount += 1
    }

    /// Returns the next datagram in one block and marks it in flight. Nil if none is complete or
    /// one is in flight.
    mutating func nextDatagramToSend(_ pool: ChunkPool) -> UnsafeRawBufferPointer? {
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

    /// Called when the kernel has answered. Returns the datagram's count. Returns 0 if the kernel
    /// accepted none of its bytes: the datagram is then sent again.
    mutating func completeDatagram(_ amount: Int, _ pool: ChunkPool) -> Int {
        guard amount == 0, let first, first.pointee.count > 0 else { return dropDatagram(pool) }
        shape = .general
        return 0
    }

    /// Drops the datagram in flight. Returns its count.
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

    /// Marks the datagram in flight to be sent again, once per datagram. False on the second
    /// attempt.
    mutating func tryDatagramAgain() -> Bool {
        precondition(isInFlight, "a send was answered that was not in flight")
        guard !isSecondTry else { return false }
        isSecondTry = true
        shape = .general
        return true
    }

    /// Returns the chunk for new bytes. Standard chunks are for datagrams that are sent at once,
    /// since many may wait.
    mutating func datagramTail(
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

/// The state of the unfinished datagram at the end of a queue.
enum GatheredDatagram: UInt8 {
    case none
    /// An empty write, which counts as one byte until bytes follow.
    case empty
    case bytes
}
