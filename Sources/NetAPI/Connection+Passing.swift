internal import CLinux
internal import EventLoop

/// Passing bytes on without looking at them: to another connection, or from a file.
extension Connection {
    /// Moves what is unread now to `other`, which may live on this loop only (gnet's `WriteTo`);
    /// returns how much. An empty datagram is passed on too, and no other nothing.
    @discardableResult
    public func forward(to other: Connection) -> Int {
        let count = buffered
        if count > 0 || withCore({ $0.takeEmptyDatagram(record) }) == true { other.write(next()) }
        return count
    }

    /// From now on everything unread or received goes to `other`, with back-pressure; `onTraffic`
    /// rests. The peer's end passes on as an end of our side to `other`; when both directions have
    /// ended, or one connection breaks, both close. For both directions call it on each. `other`
    /// must live on the same loop, as those do that `connect(to:)` makes.
    public func pipe(to other: Connection) {
        guard other.isOpen else { return }
        _ = withCore { $0.pipe(record, to: other.record) }
    }

    /// Queues `count` bytes of an open file from `offset` on, behind what is written. The
    /// descriptor is duplicated: close yours when you like. Read in pieces of 64 KiB on the loop
    /// as the peer takes them, so for files in the page cache or on fast disks. A file that turns
    /// out shorter resets the connection. Throws `.closed`, `.invalidOption`, or `.system`, also
    /// for a `udp://` connection.
    public func sendFile(_ descriptor: CInt, offset: Int, count: Int) throws(NetError) {
        guard let core, isOpen else { throw .closed }
        // No file is larger, and sums of what waits cannot overflow.
        let most = 1 << 60
        guard (0...most).contains(offset), (0...most - offset).contains(count),
            record.pointee.outbound.fileCount <= most - count
        else {
            throw .invalidOption(
                "offset or count", "\(offset), \(count)", "give a part of the file")
        }
        do throws(SystemError) {
            try core.sendFile(record, descriptor, offset: offset, count: count)
        } catch {
            throw NetError(error)
        }
    }
}

extension Connection {
    /// Runs `work`, which may block, on another thread, then `then` on this loop with its value.
    ///
    /// One at a time for each connection, in the order of the calls. An error of either closes the
    /// connection with it. After the close nothing is called, and work that has not begun is
    /// skipped. A peer that ends its side meanwhile still gets what `then` writes: its end is told
    /// when the last work is done.
    ///
    /// Threads and queue are bounded by `Options.workers`. When the queue is full, `refused` runs
    /// on this loop in place of `then`, and can answer that the server is busy; without it the
    /// connection closes with `.overloaded`. With `Options.Workers.perConnection` jobs unfinished
    /// the connection is not read, `canOffload` is false, and `nextLine`, `nextFrame`,
    /// `next(through:)`, `next(_:)` and `nextInteger` return nil; when half of them are done
    /// `onTraffic` runs again for what is unread. A callback that adds more than 1,024 jobs beyond
    /// that closes its connection with `.overloaded`.
    public func offload<Value: Sendable>(
        _ work: @escaping @Sendable () throws -> Value,
        then: @escaping (Connection, Value) throws -> Void,
        refused: ((Connection) throws -> Void)? = nil
    ) {
        let job = Offload {
            Result { try work() }
        } done: { result in
            guard let value = try result.get() as? Value else {
                preconditionFailure("the result of an offload has another type")
            }
            try then(self, value)
        } refused: {
            guard let refused else { throw OffloadRefused() }
            try refused(self)
        }
        _ = withCore { $0.offload(record, job) }
    }

    /// False with `Options.Workers.perConnection` jobs unfinished, and after a close.
    public var canOffload: Bool { withCore { $0.canOffload(record) } ?? false }
}
