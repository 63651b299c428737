package import MillraceEventLoop

/// One connection in a task that lives on the connection's loop.
///
/// The task's code between two `await`s runs on the loop's thread, like a callback, and must not
/// block. Calls on the connection therefore need neither a lock nor a change of the thread. A wait
/// for input or for room suspends the task, and the loop goes on.
///
/// After a close, reads and writes throw the reason, or `.closed` if it was no error. Reads of a
/// line, a frame or a number of bytes return nil in that case. One task at a time may wait for
/// input, and one for room.
///
/// On a `udp://` connection of a client, each read gets bytes of one datagram. Those that wait
/// while the task does not read are read next, in order; the kernel drops more than its buffer
/// holds. A read that needs more bytes than its datagram has drops it and waits for the next one.
/// Empty datagrams are skipped, and there is no end. Each `write` and `send` is one datagram;
/// gathered pieces are one together, until the task waits, writes or sends.
public final class AsyncConnection {
    let connection: Connection
    private let remote: LoopRemote
    /// The Sendable form, for other tasks and threads.
    public let handle: ConnectionHandle
    /// Known until the end of the task, also after the close.
    public let remoteAddress: Address
    let isDatagram: Bool
    @exclusivity(unchecked) private var reader: Continuation?
    @exclusivity(unchecked) private var writer: Continuation?
    /// The reason, once the connection has closed.
    @exclusivity(unchecked) private(set) var reason: CloseReason?
    @exclusivity(unchecked) private var hasPeerEnded = false
    /// The peer has ended its stream, and all of it was read.
    @exclusivity(unchecked) private(set) var hasReadAll = false
    @exclusivity(unchecked) private var isCancelled = false
    /// The number of limits of time that are over and still apply.
    @exclusivity(unchecked) var overdueLimits = 0
    /// The library has paused reading, since the task does not read.
    @exclusivity(unchecked) private var isHeldBack = false
    @exclusivity(unchecked) private var task: Task<Void, Never>?

    typealias Continuation = UnsafeContinuation<Void, Never>

    /// Called on the loop. `isHeldBack`: reading is paused until the task reads.
    init(_ connection: Connection, isHeldBack: Bool = false) {
        self.isHeldBack = isHeldBack
        self.connection = connection
        handle = connection.handle
        remote = connection.loop.core.remote
        remoteAddress = connection.remoteAddress
        isDatagram = connection.isDatagram
        // An end that is due comes later, behind bytes. Behind a handshake it may be known already,
        // although a filter still holds bytes that came before it.
        hasPeerEnded =
            isHeldBack && connection.core?.isInputOver(connection.record) ?? true
            && !connection.record.flags.contains(.endDue)
        // Not by `Connection.context`, which a connection that waits for its task does not have. In
        // this order: the end of another object may run anything.
        connection.details?.hasTask = true
        connection.details?.context = self
    }

    /// The object of a connection with a task.
    static func of(_ connection: Connection) -> AsyncConnection? {
        guard let details = connection.details, details.hasTask else { return nil }
        return details.context.map { unsafeDowncast($0, to: AsyncConnection.self) }
    }

    /// Indicates whether the connection is open.
    public var isOpen: Bool { reason == nil && connection.isOpen }

    /// The real local address; `Address.unknown` after the close.
    public var localAddress: Address { reason == nil ? connection.localAddress : .unknown }

    /// The proxy's address, as with `Connection.proxyAddress`; nil after the close.
    public var proxyAddress: Address? { reason == nil ? connection.proxyAddress : nil }

    /// The loop on which the connection and its task live.
    public var loop: LoopHandle { LoopHandle(remote: remote) }

    /// The filter below the connection's bytes. Package, for NetTLS.
    package var streamFilter: (any StreamFilter)? {
        reason == nil ? connection.streamFilter : nil
    }

    // MARK: The task

    /// Runs `body` in a task of its own, which begins before this returns. Its end closes the
    /// connection, its error is the reason.
    func start(_ body: @escaping @Sendable (AsyncConnection) async throws -> Void) {
        guard let core = connection.core else { return }
        core.setBusy(connection.record, true)
        // Unchecked: the task's executor is this loop, so the object stays on one thread.
        nonisolated(unsafe) let this = self
        task = Task(executorPreference: remote) {
            do {
                try await body(this)
                this.finished(nil)
            } catch {
                this.finished(error)
            }
        }
        core.runJobs()
    }

    func finished(_ error: (any Error)?) {
        task = nil
        guard reason == nil else { return }
        connection.details?.hasTask = false
        connection.context = nil
        reason = .local
        // Of other tasks that were given the connection.
        interruptWaits()
        _ = connection.withCore {
            $0.close(connection.record, error.map { .handlerError($0) } ?? .local)
        }
    }

    // MARK: Events

    func hasInput() {
        if reader != nil {
            guard isDatagram else { return interruptReader() }
            // A datagram that the task has not read yet is kept only in a pause. Bytes of a stream
            // stay anyway.
            interruptReader()
            guard reader == nil else { return }
        }
        guard connection.buffered > mostUnread else { return }
        isHeldBack = true
        connection.pauseReading()
    }

    /// Unread bytes of a task that does not read. More are left to the kernel. A datagram would
    /// take the place of the unread one.
    private var mostUnread: Int { isDatagram ? 0 : 65_536 }

    func peerEnded() {
        hasPeerEnded = true
        interruptReader()
    }

    /// From now on the connection waits for its task, which may run only in a later turn, behind
    /// others. Its unread bytes are kept until then, also if its peer ends.
    private func interruptReader() {
        if reader != nil, reason == nil { connection.isBusy = true }
        interrupt(\.reader)
    }

    func hasRoom() { interrupt(\.writer) }

    func closed(_ reason: CloseReason) {
        guard self.reason == nil else { return }
        if hasPeerEnded { noteWhetherAllIsRead() }
        self.reason = reason
        task?.cancel()
        interruptWaits()
    }

    /// The task that waits here was cancelled. Half of its conversation is useless to the peer.
    func cancelled() {
        isCancelled = true
        connection.abort()
        interruptWaits()
    }

    func interruptWaits() {
        interrupt(\.reader)
        interrupt(\.writer)
    }

    private func interrupt(_ place: ReferenceWritableKeyPath<AsyncConnection, Continuation?>) {
        guard let waiting = self[keyPath: place] else { return }
        self[keyPath: place] = nil
        resume(waiting)
    }

    private func resume(_ waiting: Continuation) {
        waiting.resume()
        // Behind its loop's end the task goes on elsewhere.
        connection.core?.runJobs()
    }

    // MARK: Waits

    /// Waits until more than `count` bytes are unread. False at the peer's end of stream, and after
    /// a close without an error: `hasReadAll` tells the one from the other.
    nonisolated(nonsending) func hasMore(than count: Int) async throws -> Bool {
        while true {
            try check()
            if reason != nil { return false }
            if connection.buffered > count { return true }
            if hasPeerEnded {
                // A stream that was cut must not look complete.
                let cut = connection.core?.cut(of: connection.record)
                if let cut { throw NetError(insecure: cut) }
                noteWhetherAllIsRead()
                return false
            }
            await waitForInput(moreThan: count)
        }
    }

    /// Called behind the peer's end. A close drops the bytes that are unread then, and a stream
    /// that was cut is never whole.
    @inline(never)
    private func noteWhetherAllIsRead() {
        let record = connection.record
        guard connection.core?.cut(of: record) == nil else { return }
        hasReadAll = hasReadAll || record.inbound.count + record.discarded == 0
    }

    private nonisolated(nonsending) func waitForInput(moreThan count: Int) async {
        connection.isBusy = false
        if isHeldBack {
            isHeldBack = false
            connection.resumeReading()
        }
        await waitAsReader { hasPeerEnded || connection.buffered > count }
        if reason == nil { connection.isBusy = true }
    }

    /// Waits for input, for an end, or for `resumeReader`.
    ///
    /// Between a check before this call and its own, other jobs and events may have run, so it
    /// checks again: an event that finds no reader would wake none.
    nonisolated(nonsending) func waitAsReader(unless isDue: () -> Bool) async {
        await withUnsafeContinuation { continuation in
            guard !isInterrupted, !isDue() else { return continuation.resume() }
            precondition(reader == nil, "two tasks wait for input of one connection")
            reader = continuation
        }
    }

    /// A wait would find `check` to throw, or the connection closed.
    private var isInterrupted: Bool { reason != nil || isCancelled || isOutOfTime }

    func resumeReader() { interrupt(\.reader) }

    /// Waits while too much output waits for the peer. Throws if the connection has closed.
    public nonisolated(nonsending) func drained() async throws {
        while true {
            try checkOpen()
            if connection.isWritable { return }
            await withUnsafeContinuation { continuation in
                guard !isInterrupted, !connection.isWritable else { return continuation.resume() }
                precondition(writer == nil, "two tasks wait for room of one connection")
                writer = continuation
            }
        }
    }

    /// Throws if the task should not go on.
    private func check() throws {
        if isCancelled { throw CancellationError() }
        if isOutOfTime { throw NetError.outOfTime }
        if let error = reason?.failure { throw error }
    }

    /// Whether the connection can be asked for input. Behind the close its loop may be gone.
    func isReadable() throws -> Bool {
        try check()
        return reason == nil
    }

    /// Throws if nothing more can be sent, with the error of a connection that is broken.
    func checkOpen() throws {
        try check()
        guard isOpen, !connection.record.flags.contains(.writeEnded) else {
            let cause = reason == nil ? connection.details?.cause : nil
            throw cause.flatMap { CloseReason($0).failure } ?? NetError.closed
        }
    }
}

@available(
    *, unavailable, message: "an AsyncConnection stays with its task: send connection.handle"
)
extension AsyncConnection: Sendable {}

extension CloseReason {
    /// The error for a task whose connection closed for this reason; nil for an ordinary end.
    fileprivate var failure: (any Error)? {
        switch self {
        case .local, .peer, .shutdown: nil
        case .reset(let error): error
        case .handlerError(let error): error
        case .timeout: NetError.outOfTime
        case .inboundOverflow, .outboundOverflow: NetError.overflowed
        }
    }
}

extension NetError {
    fileprivate static let outOfTime = NetError(
        .timedOut, "the time for the connection is over", "raise the limit or the time-out")
    fileprivate static let overflowed = NetError(
        .overloaded, "more bytes waited than the limits allow", "see Options.Limits")
}
