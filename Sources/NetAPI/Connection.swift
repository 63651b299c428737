public import MillraceEventLoop

/// The loop below the public `Loop`.
@usableFromInline typealias LoopCore = MillraceEventLoop.Loop

/// One connection, confined to its loop: use it in callbacks, or in closures that its loop runs. On
/// other threads use `handle`.
///
/// A value of two words that may be copied and kept. Once the connection has closed, every copy
/// reads as closed and every call does nothing.
public struct Connection: Hashable {
    @usableFromInline package let record: ConnectionReference
    @usableFromInline package let token: Token

    package init(_ record: ConnectionReference) {
        self.record = record
        token = record.token
    }

    /// Indicates whether the slot still belongs to this connection.
    @inlinable @inline(__always)
    var isCurrent: Bool { record.token == token }

    var core: LoopCore? {
        isCurrent ? record.loop.takeUnretainedValue() : nil
    }

    /// Runs `body` with the loop, without reference counting; nil after the close.
    @inlinable @inline(__always)
    func withCore<R>(_ body: (LoopCore) -> R) -> R? {
        guard isCurrent else { return nil }
        return record.loop._withUnsafeGuaranteedRef { body($0) }
    }

    var details: ConnectionDetails? {
        isCurrent ? record.details?.takeUnretainedValue() : nil
    }
}

@available(
    *, unavailable, message: "a Connection stays on its loop: send connection.handle instead"
)
extension Connection: Sendable {}

extension Connection {
    /// The Sendable form, for other threads and tasks.
    public var handle: ConnectionHandle {
        ConnectionHandle(remote: core?.remote, token: token)
    }

    /// The loop on which the connection lives. After the close it may be read on a loop's thread
    /// only.
    public var loop: Loop {
        // A connection stays on its loop's thread, so after its end that thread still identifies
        // the loop.
        guard let core = core ?? LoopCore.current else {
            preconditionFailure("a connection that has closed was asked for its loop elsewhere")
        }
        return Loop(core: core)
    }

    /// The server to which the connection belongs. For a connection of a `Client`, an object with
    /// the counters, the connections and the stop of that client.
    public var server: Server { loop.server }

    /// Indicates whether the connection is open: true until `close()`, an error or the peer's end
    /// of stream closes it.
    public var isOpen: Bool { isCurrent && record.state == .open }

    /// Indicates whether a listener accepted the connection; false after the close.
    public var isAccepted: Bool { details?.isAccepted ?? false }

    /// The real local address, also when the server listens on every address. Known from `onOpen`
    /// to `onClose`, and `Address.unknown` otherwise. Behind a proxy, the address that the client
    /// has connected to, if the proxy tells it.
    public var localAddress: Address {
        Address(withCore { $0.localAddress(of: record) } ?? nil, isDatagram: isDatagram)
    }

    /// The peer's address. Known from `onOpen` to `onClose`, and `Address.unknown` otherwise. A
    /// Unix peer usually has no name. Behind a proxy that sends a PROXY header, the client's
    /// address; the proxy's own if the header has none, as for its health checks.
    public var remoteAddress: Address { Address(details?.remoteAddress, isDatagram: isDatagram) }

    /// The proxy's address, for a connection of a listener whose address ends in `?proxy`. Known
    /// from `onOpen` to `onClose`; nil otherwise and for other connections.
    public var proxyAddress: Address? {
        withCore { $0.proxyAddress(of: record) }?.map { Address($0) }
    }

    var isDatagram: Bool { isCurrent && record.isDatagram }

    /// The filter below the connection's bytes; nil without one or before the end of its
    /// handshake, and after the close.
    package var streamFilter: (any StreamFilter)? {
        guard let state = details?.filter, state.isEstablished else { return nil }
        return state.filter
    }

    /// An object of the program, kept until the close. `PerConnection` is typed and faster. A
    /// connection that a task serves has none.
    public var context: AnyObject? {
        get { details.flatMap { $0.hasTask ? nil : $0.context } }
        nonmutating set {
            guard let details, !details.hasTask else { return }
            // Released last, since the old object may use this connection as it goes.
            var old = newValue
            swap(&old, &details.context)
        }
    }

    // MARK: Closing

    /// Sends the written bytes, then ends the stream and closes. Input that arrives meanwhile is
    /// discarded. `onClose` runs later, never inside this call.
    public func close() {
        _ = withCore { $0.close(record, .local) }
    }

    /// Closes at once: unsent bytes are dropped and the peer receives a reset. `onClose` runs
    /// later, never inside this call.
    public func abort() {
        guard isCurrent && !record.isOver else { return }
        _ = withCore { $0.abort(record, .local) }
    }

    /// Ends our side of the stream after the written bytes; reading goes on. With
    /// `Options.allowHalfClosure` the connection closes when the peer has ended its side too.
    public func shutdownWrite() {
        _ = withCore { $0.shutdownWrite(record) }
    }

    /// Marks a connection that works on something although no bytes move: a request in progress, or
    /// a body still to come. Set it back when done.
    ///
    /// While it is true, `Options.Timeouts.idle` does not count unless unsent bytes wait for the
    /// peer; `read` counts. A stopping server closes a connection that is silent for 20 ms, but a
    /// busy one only when half of its time is over. A peer that has ended its side still gets the
    /// answer. Without `Options.allowHalfClosure` its end closes a busy connection only when it is
    /// no longer busy. `onHalfClose` runs once in that case: a handler that waits for input closes
    /// there.
    public var isBusy: Bool {
        get { withCore { $0.isBusy(record) } ?? false }
        nonmutating set { _ = withCore { $0.setBusy(record, newValue) } }
    }

    // MARK: Pausing

    /// Leaves bytes in the kernel until `resumeReading()`. Meanwhile `onTraffic` runs only for
    /// `wake()`, and the peer's end of stream is not delivered. A reset ends the pause: bytes that
    /// came before it are delivered, then `onClose` runs.
    ///
    /// On a `udp://` connection the kernel drops more datagrams than the socket's receive buffer
    /// holds, without a count here. Those that the library has received already, on epoll up to 64
    /// at once, are kept and delivered first after the pause. At most
    /// `Options.Limits.inboundBytes` are kept, with 256 more for each; further ones are dropped and
    /// counted in `Statistics.datagramDrops`. A datagram that `onTraffic` leaves unread and that
    /// begins the pause can be read until the next one is delivered.
    public func pauseReading() {
        _ = withCore { $0.pauseReading(record) }
    }

    /// Resumes reading. Bytes that came meanwhile are delivered by the loop, not inside this call.
    /// Bytes that the handler had left unread before do not make `onTraffic` run by themselves:
    /// call it, or `handle.wake()`.
    public func resumeReading() {
        _ = withCore { $0.resumeReading(record) }
    }

    /// Indicates whether reading goes on while more than `Options.Limits.outboundHighMark` is
    /// unsent. False for accepted connections, true for those that we connected. Set it for output
    /// that is not caused by this connection's input (broadcasts, pushes). Set it too for protocols
    /// whose clients write all requests before they read the first answer. Then
    /// `Options.Limits.outboundBytes` alone bounds the bytes that they can make the server hold.
    /// The source of a pipe is always read like that, as far as the pipe's target accepts the
    /// bytes.
    public var readsWhileCongested: Bool {
        get { withCore { $0.readsAhead(record) } ?? false }
        nonmutating set { _ = withCore { $0.setReadsAhead(record, newValue) } }
    }

    // MARK: Options

    /// Sets a socket option on the open connection. Throws `.unsupported` if this kind of socket
    /// has no such option, and `.invalidOption` for an impossible value. Throws `.closed` after the
    /// close, and `.system` for another error of the kernel.
    public func set(_ option: SocketOption) throws(NetError) {
        guard let core, !record.isOver else { throw .closed }
        do throws(SystemError) {
            try core.set(try option.translated(), on: record)
        } catch {
            throw NetError(option: option, error)
        }
    }

    /// Reads any socket option of the open connection by its level and name, as `getsockopt` takes
    /// them: `IPPROTO_TCP` and `TCP_INFO`, for example. The kernel cuts a longer one off at
    /// `capacity` bytes, 1 to 65,536. Throws `.unsupported` if this kind of socket has no such
    /// option, `.invalidOption` if it needs another capacity, `.closed` after the close, and
    /// `.system` for another error of the kernel.
    public func option(
        level: CInt, name: CInt, capacity: Int = 256
    ) throws(NetError) -> [UInt8] {
        guard let core, !record.isOver else { throw .closed }
        do throws(SystemError) {
            return try core.option(
                level: level, name: name, capacity: min(max(1, capacity), 65_536), of: record)
        } catch {
            throw NetError(level, name, "is not read into \(capacity) bytes", error)
        }
    }

    /// Reads any option that is an integer. Throws like `option(level:name:capacity:)`, and
    /// `.invalidOption` if the option has another size.
    public func integerOption(level: CInt, name: CInt) throws(NetError) -> CInt {
        let size = MemoryLayout<CInt>.size
        let bytes = try option(level: level, name: name, capacity: size + 1)
        guard bytes.count == size else {
            throw NetError(
                .invalidOption, "option \(name) of level \(level) is no integer",
                "read its bytes with option(level:name:capacity:)")
        }
        var value: CInt = 0
        withUnsafeMutableBytes(of: &value) { $0.copyBytes(from: bytes) }
        return value
    }

    /// Like `loop.schedule(after:_:)`, but cancelled before `onClose`. It still runs while the
    /// bytes written before a close are sent, so a handler can limit that time. An error closes the
    /// connection.
    @discardableResult
    public func schedule(
        after delay: Duration, _ body: @escaping (Connection) throws -> Void
    ) -> ScheduledTimer {
        guard let core, !record.isOver else { return ScheduledTimer(core: nil) }
        return ScheduledTimer(
            core: core.schedule(after: Nanoseconds(delay), for: record) { try body(self) })
    }
}
