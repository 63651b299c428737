public import EventLoop

/// One stream, confined to its loop: use it in callbacks, or in closures that its loop runs.
/// Elsewhere use `handle`.
///
/// A value of two words that may be copied and kept: once the connection has closed, every copy
/// reads as closed and every call does nothing.
public struct Connection: Hashable {
    @usableFromInline package let record: ConnectionReference
    @usableFromInline package let token: Token

    package init(_ record: ConnectionReference) {
        self.record = record
        token = record.pointee.token
    }

    /// Its slot has not been given to another connection.
    @inlinable @inline(__always)
    var isCurrent: Bool { record.pointee.token == token }

    var core: EventLoop.Loop? {
        isCurrent ? record.pointee.loop.takeUnretainedValue() : nil
    }

    /// Runs `body` with the loop, without counting references; nil after the close.
    @inlinable @inline(__always)
    func withCore<R>(_ body: (EventLoop.Loop) -> R) -> R? {
        guard isCurrent else { return nil }
        return record.pointee.loop._withUnsafeGuaranteedRef { body($0) }
    }

    var details: ConnectionDetails? {
        isCurrent ? record.pointee.details?.takeUnretainedValue() : nil
    }
}

@available(
    *, unavailable, message: "a Connection stays on its loop: send connection.handle instead"
)
extension Connection: Sendable {}

extension Connection {
    /// The Sendable form, for other threads and tasks.
    public var handle: ConnectionHandle {
        ConnectionHandle(port: core?.port, token: token)
    }

    /// The loop that it lives on.
    public var loop: Loop {
        // A connection stays on its loop's thread, so after its end that thread still tells.
        guard let core = core ?? EventLoop.Loop.current else {
            preconditionFailure("a connection that has closed was asked for its loop elsewhere")
        }
        return Loop(core: core)
    }

    /// The server that it belongs to.
    public var server: Server { loop.server }

    /// True until `close()`, an error or the peer's end closes it.
    public var isOpen: Bool { isCurrent && record.pointee.state == .open }

    /// True for a connection that a listener took in; false after the close.
    public var isAccepted: Bool { details?.isAccepted ?? false }

    /// Our side: the real address, also when the server listens on all of them. Known from `onOpen`
    /// to `onClose`.
    public var localAddress: Address {
        Address(withCore { $0.localAddress(of: record) } ?? nil, isDatagram: isDatagram)
    }

    /// The peer's side. Known from `onOpen` to `onClose`, and `Address.unknown` otherwise; a Unix
    /// peer usually has no name.
    public var remoteAddress: Address { Address(details?.remoteAddress, isDatagram: isDatagram) }

    var isDatagram: Bool { isCurrent && record.pointee.isDatagram }

    /// Anything of the program's own, kept until the close. `PerConnection` is typed and faster.
    public var context: AnyObject? {
        get { details?.context }
        nonmutating set {
            guard let details else { return }
            // Let go of at the end: the old one may use this connection.
            var old = newValue
            swap(&old, &details.context)
        }
    }

    // MARK: Ending

    /// Sends what was written, then ends the stream and closes. Input that comes meanwhile is
    /// discarded.
    public func close() {
        _ = withCore { $0.close(record, .local) }
    }

    /// Closes at once; unsent bytes are dropped and the peer sees a reset.
    public func abort() {
        guard isCurrent && !record.pointee.isOver else { return }
        _ = withCore { $0.abort(record, .local) }
    }

    /// Ends our side of the stream after what was written; reading goes on. With
    /// `Options.allowHalfClosure` the connection closes when the peer has ended its side too.
    public func shutdownWrite() {
        _ = withCore { $0.shutdownWrite(record) }
    }

    /// True while the connection is in the middle of something although no bytes move: a request
    /// that is being worked on, a body that is still to come. Set it back when done.
    ///
    /// Meanwhile `Options.Timeouts.idle` does not count, but `read` does. A stopping server closes
    /// a connection that is silent for 20 ms, but a busy one only when half of its time is over.
    /// And a peer that has ended its side still gets the answer: without `Options.allowHalfClosure`
    /// its end closes a busy connection only when it is no longer busy. `onHalfClose` runs once in
    /// that case: a handler that waits for input closes there.
    public var isBusy: Bool {
        get { withCore { $0.isBusy(record) } ?? false }
        nonmutating set { _ = withCore { $0.setBusy(record, newValue) } }
    }

    // MARK: Pausing

    /// Leaves bytes in the kernel until `resumeReading()`: `onTraffic` rests, and so does news of
    /// the peer's end. A reset ends the pause: what had come before it is shown, then `onClose`.
    public func pauseReading() {
        _ = withCore { $0.pauseReading(record) }
    }

    /// Goes on reading; what came meanwhile is shown from the loop, not inside this call.
    public func resumeReading() {
        _ = withCore { $0.resumeReading(record) }
    }

    /// Whether reading goes on while more than `Options.Limits.outboundHighMark` is unsent. False
    /// for accepted connections, true for those that we connected. Set it for output that is not
    /// caused by what this connection sends (broadcasts, pushes), and for protocols whose clients
    /// write all of their requests before they read the first answer; then
    /// `Options.Limits.outboundBytes` alone bounds what they can make the server hold. The source
    /// of a pipe is read like that in any case, as far as the pipe's target takes it.
    public var readsWhileCongested: Bool {
        get { withCore { $0.readsAhead(record) } ?? false }
        nonmutating set { _ = withCore { $0.setReadsAhead(record, newValue) } }
    }

    // MARK: Options

    /// Sets a socket option on the live connection. Throws `.unsupported` if this kind of socket
    /// has none such, `.invalidOption` for a value that cannot be, `.closed` after the close.
    public func set(_ option: SocketOption) throws(NetError) {
        guard let core, !record.pointee.isOver else { throw .closed }
        do throws(SystemError) {
            try core.set(try option.translated(), on: record)
        } catch {
            throw NetError(option: option, error)
        }
    }

    /// As `loop.schedule(after:_:)`, cancelled before `onClose`. Until then it runs, also while
    /// what was written before a close goes out: a handler may limit how long that takes. An error
    /// closes the connection.
    @discardableResult
    public func schedule(
        after delay: Duration, _ body: @escaping (Connection) throws -> Void
    ) -> Timer {
        guard let core, !record.pointee.isOver else { return Timer(core: nil) }
        return Timer(
            core: core.schedule(after: Nanoseconds(delay), for: record) { try body(self) })
    }
}
