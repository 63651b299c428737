/// Room for bytes whose number the writer knows only when they are written.
///
/// A reservation that does not fit behind the last bytes gets a chunk apart, which hangs behind the
/// last one until the commit. Most writers reserve far more than they need, and the marks and the
/// limit count bytes, not chunks. So few bytes move from there to the room that the reservation has
/// passed over, or to a smaller chunk.
extension OutboundQueue {
    /// Returns at least `capacity` bytes of memory behind the last byte; `commit` adds those that
    /// were filled. It must follow before any other call.
    package mutating func reserve(
        _ capacity: Int, _ pool: ChunkPool
    ) -> UnsafeMutableRawBufferPointer {
        if let last, last.pointee.room >= capacity { return room(of: last) }
        guard first != nil || capacity > Chunk.standardCapacity else { return room(of: tail(pool)) }
        return reserveApart(max(capacity, Chunk.standardCapacity), pool)
    }

    package mutating func commit(_ amount: Int, _ pool: ChunkPool) {
        guard amount > 0, let last, amount <= last.pointee.room else {
            return commitSlow(amount, pool)
        }
        last.pointee.end += amount
        count += amount
    }

    /// Like `reserve`, but for the datagram at the end. The chunk is sealed until `commit`, which
    /// recognises a datagram by that.
    mutating func reserveGathered(
        _ capacity: Int, _ pool: ChunkPool
    ) -> UnsafeMutableRawBufferPointer {
        // At least one: the sealed chunk of an empty datagram has a room of 0.
        let capacity = max(1, capacity)
        let hasRoom = (last?.pointee.room ?? 0) >= capacity
        guard first == nil || hasRoom else {
            return reserveApart(max(capacity, Self.datagramCost), pool)
        }
        let chunk = datagramTail(withRoom: capacity, pool)
        defer { chunk.pointee.seal() }
        return room(of: chunk)
    }

    private func room(of chunk: UnsafeMutablePointer<Chunk>) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(
            start: chunk.bytes + chunk.pointee.end, count: chunk.pointee.room)
    }

    @inline(never)
    private mutating func reserveApart(
        _ capacity: Int, _ pool: ChunkPool
    ) -> UnsafeMutableRawBufferPointer {
        let chunk = pool.take(capacity: capacity)
        if let last {
            last.pointee.next = chunk
            // Otherwise `commit` would add bytes here that are not in its room.
            if !last.pointee.hasFile { last.pointee.seal() }
        } else {
            first = chunk
        }
        return room(of: chunk)
    }

    @inline(never)
    private mutating func commitSlow(_ amount: Int, _ pool: ChunkPool) {
        if let chunk = takeApart() {
            commit(amount, in: chunk, pool)
        } else if amount > 0 {
            commitGathered(amount, pool)
        } else {
            commitNothing(pool)
        }
    }

    /// Takes the hanging chunk off, if there is one.
    private mutating func takeApart() -> UnsafeMutablePointer<Chunk>? {
        guard let last else {
            defer { first = nil }
            return first
        }
        guard let chunk = last.pointee.next else { return nil }
        last.pointee.next = nil
        // Nothing joins a file's chunk or a complete datagram.
        let mayGrow = !hasDatagrams || gathered != .none
        if mayGrow && !last.pointee.hasFile { last.pointee.unseal() }
        return chunk
    }

    private var hasDatagrams: Bool { datagramCount > 0 || gathered != .none }

    private mutating func commit(
        _ amount: Int, in chunk: UnsafeMutablePointer<Chunk>, _ pool: ChunkPool
    ) {
        precondition(amount <= chunk.pointee.room, "more committed than reserved")
        guard amount > 0 else {
            pool.give(chunk)
            return dropIfEmpty(pool)
        }
        let isDatagram = hasDatagrams
        let home = home(for: amount, in: chunk, pool)
        if home != chunk {
            (home.bytes + home.pointee.end).copyMemory(from: chunk.bytes, byteCount: amount)
            pool.give(chunk)
        }
        if home != last { link(home) }
        if isDatagram { return gatheredBytes(amount, home) }
        home.pointee.end += amount
        count += amount
    }

    /// The chunk in which the bytes stay: the last one, a smaller one, or their own.
    private func home(
        for amount: Int, in chunk: UnsafeMutablePointer<Chunk>, _ pool: ChunkPool
    ) -> UnsafeMutablePointer<Chunk> {
        if let last, last.pointee.room >= amount { return last }
        let size = max(amount, hasDatagrams ? Self.datagramCost : Chunk.standardCapacity)
        let isWorthACopy = amount <= chunk.pointee.capacity / 4 && size < chunk.pointee.capacity
        return isWorthACopy ? pool.take(capacity: size) : chunk
    }
}
