internal import EventLoop

/// A connection, for other threads and tasks.
///
/// Calls from one thread take effect in their order. After the close each reports `.closed`. What
/// is posted waits in the loop's mailbox, which is bounded: if that is full nothing is taken. Each
/// call tells so, and `Statistics.refusedPosts` counts it.
public struct ConnectionHandle: Sendable, Hashable {
    let port: LoopPort?
    let token: Token

    public static func == (one: ConnectionHandle, other: ConnectionHandle) -> Bool {
        one.port === other.port && one.token == other.token
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(port.map(ObjectIdentifier.init))
        hasher.combine(token)
    }

    /// Queues bytes. `sent` runs once: on the loop when the kernel has them all, or with the error;
    /// on the calling thread, with `.closed` or `.overloaded`, if the loop has ended or takes no
    /// more, which is when false is returned.
    ///
    /// On a `udp://` connection each call is a datagram of its own, an empty one too. `sent` is
    /// then also told success when the network would have lost it. What waits, 256 bytes more for
    /// each datagram, is bounded by `Options.Limits.outboundBytes`.
    @discardableResult
    public func write(
        _ bytes: [UInt8], sent: (@Sendable (Result<Void, NetError>) -> Void)? = nil
    ) -> Bool {
        post { loop, record in
            guard let record else {
                sent?(.failure(.closed))
                return
            }
            loop.writeWhole(record, tell: Self.result(for: sent)) {
                bytes.withUnsafeBytes { loop.write(record, $0) }
            }
        } refused: {
            sent?(.failure($0))
        }
    }

    /// As `write`, for text as UTF-8.
    @discardableResult
    public func write(
        _ text: String, sent: (@Sendable (Result<Void, NetError>) -> Void)? = nil
    ) -> Bool {
        write(Array(text.utf8), sent: sent)
    }

    /// As `write`, for several pieces in order: nothing that other threads write comes between
    /// them, and `sent` is told once, when the kernel has the last of them. On a `udp://`
    /// connection they are one datagram.
    @discardableResult
    public func write(
        _ pieces: [[UInt8]], sent: (@Sendable (Result<Void, NetError>) -> Void)? = nil
    ) -> Bool {
        post { loop, record in
            guard let record else {
                sent?(.failure(.closed))
                return
            }
            loop.writeWhole(record, tell: Self.result(for: sent)) {
                if pieces.isEmpty { loop.writeNothing(record) }
                for piece in pieces { piece.withUnsafeBytes { loop.write(record, $0) } }
            }
        } refused: {
            sent?(.failure($0))
        }
    }

    /// `onTraffic` runs soon, also with nothing unread. False if that was not taken, as for
    /// `write`.
    @discardableResult
    public func wake() -> Bool {
        post { loop, record in if let record { loop.wake(record) } }
    }

    /// As `Connection.close()`.
    public func close() {
        post(always: true) { loop, record in if let record { loop.close(record, .local) } }
    }

    /// As `Connection.abort()`.
    public func abort() {
        post(always: true) { loop, record in if let record { loop.abort(record, .local) } }
    }

    /// Runs `body` on the loop with the connection; not at all once it is closed. An error closes
    /// the connection. False if `body` was not taken and will not run: the loop has ended, or its
    /// mailbox is full.
    @discardableResult
    public func execute(_ body: @escaping @Sendable (Connection) throws -> Void) -> Bool {
        let token = token
        return post { loop, record in
            guard let record else { return }
            loop.runClosure(for: token) { _ in try body(Connection(record)) }
        }
    }

    /// Returns when the kernel has the bytes; suspends while the peer does not take them. Throws a
    /// `NetError`, `.closed` or `.overloaded`. Cancelling the task throws `CancellationError` at
    /// once: bytes that the loop has not come to are withdrawn, others go out nevertheless, since
    /// what follows them in the stream would be nothing without them.
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

    /// Runs `body` on the loop and returns its value. Throws what `body` throws, which does not
    /// close the connection, or a `NetError` `.closed` or `.overloaded` if it did not run.
    /// Cancelling the task throws `CancellationError` at once, and `body` does not run, unless it
    /// runs already.
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

    /// Runs `body` on the loop, with nil if the connection is closed; else, at once, `refused`, and
    /// returns false.
    @discardableResult
    private func post(
        always: Bool = false,
        _ body: @escaping @Sendable (EventLoop.Loop, ConnectionReference?) -> Void,
        refused: (NetError) -> Void = { _ in }
    ) -> Bool {
        guard let port else {
            refused(.closed)
            return false
        }
        let token = token
        let message = LoopMessage.run { loop in
            let record = loop.find(token)
            body(loop, record?.pointee.state == .open ? record : nil)
        }
        switch port.post(message, always: always) {
        case .accepted: return true
        case .full: refused(.overloaded(loop: port.index, capacity: port.mailbox.capacity))
        case .closed: refused(.closed)
        }
        return false
    }
}
