internal import MillraceEventLoop

/// The Sendable form of a connection, for use on any thread and in tasks.
///
/// Calls from one thread take effect in their order. After the close, `sent`, `send` and `run`
/// report `.closed`, and the other calls have no effect, but `abort` still resets a connection that
/// sends its last bytes. Calls post to the loop's mailbox, which is
/// bounded. A full mailbox refuses a call: the call returns false or throws `.overloaded`, and
/// `Statistics.refusedPosts` counts it. `close()` and `abort()` are accepted even then.
public struct ConnectionHandle: Sendable, Hashable {
    let remote: LoopRemote?
    let token: Token

    public static func == (one: ConnectionHandle, other: ConnectionHandle) -> Bool {
        one.remote === other.remote && one.token == other.token
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(remote.map(ObjectIdentifier.init))
        hasher.combine(token)
    }

    /// Queues bytes, and returns whether the loop accepted the call. Accepted bytes are dropped if
    /// the connection closes before the loop reaches them. `sent` runs once: on the loop
    /// when the kernel has all bytes, or with the error. It runs on the calling thread, with
    /// `.closed` or `.overloaded`, if this returns false: the loop has ended or its mailbox is
    /// full.
    ///
    /// On a `udp://` connection each call is a datagram of its own, also an empty one. `sent`
    /// reports success for a dropped datagram too, since the network could have lost it as well.
    /// `Options.Limits.outboundBytes` bounds the waiting bytes, with 256 more for each datagram.
    @discardableResult
    public func write(
        _ bytes: [UInt8], sent: (@Sendable (Result<Void, NetError>) -> Void)? = nil
    ) -> Bool {
        write(telling: sent) { loop, record in
            bytes.withUnsafeBytes { loop.write(record, $0) }
        }
    }

    /// Like `write(_:sent:)` for an array, but for another collection, such as a slice or
    /// Foundation's `Data`, which is copied.
    @discardableResult
    public func write(
        _ bytes: some Collection<UInt8>,
        sent: (@Sendable (Result<Void, NetError>) -> Void)? = nil
    ) -> Bool {
        write(Array(bytes), sent: sent)
    }

    /// Like `write(_:sent:)` for bytes, but for text as UTF-8.
    @discardableResult
    public func write(
        _ text: String, sent: (@Sendable (Result<Void, NetError>) -> Void)? = nil
    ) -> Bool {
        write(Array(text.utf8), sent: sent)
    }

    /// Like `write(_:sent:)` for bytes, but for several pieces in order. No write of another thread
    /// comes between them, and `sent` runs once, when the kernel has the last of them. On a
    /// `udp://` connection they are one datagram.
    @discardableResult
    @_disfavoredOverload
    public func write(
        _ pieces: [[UInt8]], sent: (@Sendable (Result<Void, NetError>) -> Void)? = nil
    ) -> Bool {
        write(telling: sent) { loop, record in
            if pieces.isEmpty { loop.writeNothing(record) }
            for piece in pieces { piece.withUnsafeBytes { loop.write(record, $0) } }
        }
    }

    private func write(
        telling sent: (@Sendable (Result<Void, NetError>) -> Void)?,
        _ body: @escaping @Sendable (LoopCore, ConnectionReference) -> Void
    ) -> Bool {
        post { loop, record in
            guard let record else {
                sent?(.failure(.closed))
                return
            }
            loop.writeWhole(record, tell: Self.result(for: sent)) { body(loop, record) }
        } refused: {
            sent?(.failure($0))
        }
    }

    /// Makes `onTraffic` run soon, even with nothing unread. Returns false if the loop has ended or
    /// its mailbox is full.
    @discardableResult
    public func wake() -> Bool {
        post { loop, record in if let record { loop.wake(record) } }
    }

    /// Closes the connection like `Connection.close()`.
    public func close() {
        post(always: true) { loop, record in if let record { loop.close(record, .local) } }
    }

    /// Closes the connection like `Connection.abort()`, also one that is closing and still sends.
    public func abort() {
        let token = token
        _ = remote?.post(
            .run { loop in
                // Once `onClose` has run, a reset could only destroy what the peer has not read.
                guard let record = loop.find(token), record.state != .lingering else { return }
                loop.abort(record, .local)
            }, always: true)
    }

    /// Runs `body` on the loop with the connection, unless the connection is closed by then. An
    /// error closes the connection. Returns false if `body` will not run because the loop has ended
    /// or its mailbox is full.
    @discardableResult
    public func execute(_ body: @escaping @Sendable (Connection) throws -> Void) -> Bool {
        let token = token
        return post { loop, record in
            guard let record else { return }
            loop.runClosure(for: token) { _ in try body(Connection(record)) }
        }
    }

    /// Sends bytes and returns when the kernel has them; suspends while the peer does not accept
    /// them. Throws a `NetError`, `.closed` or `.overloaded`. Cancelling the task throws
    /// `CancellationError` at once. Bytes that the loop has not reached by then are withdrawn.
    /// Others are still sent, because the rest of the stream would be useless without them.
    public func send(_ bytes: [UInt8]) async throws {
        let answer = Answer<Void>()
        try await answer.wait {
            post { loop, record in
                guard let record else {
                    answer.resume(.failure(NetError.closed))
                    return
                }
                guard !answer.isCancelled else { return }
                let tell: SendResult = { cause in
                    answer.resume(cause == nil ? .success(()) : .failure(NetError.closed))
                }
                loop.writeWhole(record, tell: tell) {
                    bytes.withUnsafeBytes { loop.write(record, $0) }
                }
            } refused: {
                answer.resume(.failure($0))
            }
        }
    }

    /// Sends like `send` for an array, but another collection, which is copied.
    public func send(_ bytes: some Collection<UInt8>) async throws {
        let bytes = Array(bytes)
        try await send(bytes)
    }

    /// Runs `body` on the loop and returns its value. Throws the error of `body`, which does not
    /// close the connection, or a `NetError`, `.closed` or `.overloaded`, if `body` did not run.
    /// Cancelling the task throws `CancellationError` at once, and `body` does not run unless it
    /// has begun.
    public func run<R: Sendable>(
        _ body: @escaping @Sendable (Connection) throws -> R
    ) async throws -> R {
        let answer = Answer<R>()
        return try await answer.wait {
            post { loop, record in
                guard let record else {
                    answer.resume(.failure(NetError.closed))
                    return
                }
                guard answer.begin() else { return }
                let result = Result { try body(Connection(record)) }
                loop.endDatagram(record)
                answer.resume(result)
            } refused: {
                answer.resume(.failure($0))
            }
        }
    }

    private static func result(
        for sent: (@Sendable (Result<Void, NetError>) -> Void)?
    ) -> SendResult? {
        guard let sent else { return nil }
        return { cause in sent(cause == nil ? .success(()) : .failure(.closed)) }
    }

    /// Runs `body` on the loop, with nil if the connection is closed. If the loop does not accept
    /// it, runs `refused` at once and returns false.
    @discardableResult
    private func post(
        always: Bool = false,
        _ body: @escaping @Sendable (LoopCore, ConnectionReference?) -> Void,
        refused: (NetError) -> Void = { _ in }
    ) -> Bool {
        guard let remote else {
            refused(.closed)
            return false
        }
        let token = token
        let message = LoopMessage.run { loop in
            let record = loop.find(token)
            body(loop, record?.state == .open ? record : nil)
        }
        switch remote.post(message, always: always) {
        case .accepted: return true
        case .full: refused(.overloaded(loop: remote.index, capacity: remote.mailbox.capacity))
        case .closed: refused(.closed)
        }
        return false
    }
}
