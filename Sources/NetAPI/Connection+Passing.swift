internal import CMillraceLinux
internal import MillraceEventLoop

/// Bytes that are passed on without a look at them: to another connection, or from a file. Call
/// these methods on the connection's loop.
extension Connection {
    /// Consumes all unread bytes, writes them to `other`, which must live on the same loop, and
    /// returns their number (gnet's `WriteTo`). An empty datagram is passed on too. Otherwise the
    /// call does nothing when nothing is unread.
    @discardableResult
    public func forward(to other: Connection) -> Int {
        let count = buffered
        if count > 0 || withCore({ $0.takeEmptyDatagram(record) }) == true { other.write(next()) }
        return count
    }

    /// Sends everything unread or received from now on to `other`, with back-pressure; `onTraffic`
    /// is no longer called. The peer's end of stream becomes an end of our side to `other`. When
    /// both directions have ended, or one connection breaks, both close. For both directions call
    /// it on each. `other` must live on the same loop, like the connections that `connect(to:)`
    /// makes.
    public func pipe(to other: Connection) {
        guard other.isOpen else { return }
        _ = withCore { $0.pipe(record, to: other.record) }
    }

    /// Queues `count` bytes of an open file from byte `offset` on, behind the written bytes. The
    /// descriptor is duplicated, so the caller may close its own at any time. The loop reads the
    /// file in pieces of 64 KiB as the peer accepts them: for files in the page cache or on fast
    /// disks. A file that turns out shorter resets the connection. Throws `.closed`,
    /// `.invalidOption`, or `.system`, also for a `udp://` connection.
    public func sendFile(_ descriptor: CInt, offset: Int, count: Int) throws(NetError) {
        let core = try coreForFile(offset, count)
        do throws(SystemError) {
            try core.sendFile(
                record, FilePart(duplicating: descriptor, offset: offset, left: count))
        } catch {
            throw NetError(error)
        }
    }

    /// Like `sendFile(_:offset:count:)`, but the library owns the descriptor from now on, even if
    /// this throws. The descriptor is closed when its last byte has been sent, or when the
    /// connection closes. The call needs no second descriptor, so it does not fail where a process
    /// may have no more of them.
    public func sendFile(
        takingOver descriptor: CInt, offset: Int, count: Int
    ) throws(NetError) {
        // It closes the descriptor, on every path.
        let file = FilePart(descriptor: descriptor, offset: offset, left: count)
        let core = try coreForFile(offset, count)
        do throws(SystemError) {
            try core.sendFile(record, file)
        } catch {
            throw NetError(error)
        }
    }

    /// Returns the loop if it may be asked to send so much of a file.
    private func coreForFile(_ offset: Int, _ count: Int) throws(NetError) -> LoopCore {
        guard let core, isOpen else { throw .closed }
        // No file is larger, and sums of the queued lengths cannot overflow.
        let most = 1 << 60
        guard (0...most).contains(offset), (0...most - offset).contains(count),
            record.outbound.fileCount <= most - count
        else {
            throw .invalidOption(
                "offset or count", "\(offset), \(count)", "give a part of the file")
        }
        return core
    }
}

extension Connection {
    /// Runs `work`, which may block, on another thread, then `then` on this loop with its value.
    ///
    /// The jobs of a connection run one at a time, in the order of the calls. An error of `work` or
    /// `then` closes the connection with it. After the close no closure is called, and jobs that
    /// have not begun are skipped. A peer that ends its side meanwhile still gets the bytes that
    /// `then` writes: its end of stream is delivered after the last job.
    ///
    /// `Options.workers` bounds threads and queue. When the queue is full, `refused` runs on this
    /// loop in place of `then`, and can answer that the server is busy. Without `refused` the
    /// connection closes with `.overloaded`. With `Options.Workers.perConnection` unfinished jobs
    /// the connection is not read and `canOffload` is false. Then `nextLine`, `nextFrame`,
    /// `next(through:)`, `next(_:)` and `nextInteger` return nil. When half of the jobs are done,
    /// `onTraffic` runs again for the unread bytes. A callback that adds more than 1,024 jobs
    /// beyond that limit closes its connection with `.overloaded`.
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

    /// Indicates room for another job: false with `Options.Workers.perConnection` unfinished jobs,
    /// and after a close.
    public var canOffload: Bool { withCore { $0.canOffload(record) } ?? false }
}
