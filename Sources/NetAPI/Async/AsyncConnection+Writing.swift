internal import MillraceEventLoop

/// Output in a task.
extension AsyncConnection {
    /// Writes bytes, which are sent soon. Suspends while more than the high mark of
    /// `Options.Limits` waits for the peer. Throws if the connection has closed, with the reason.
    public nonisolated(nonsending) func write(_ bytes: [UInt8]) async throws {
        try checkOpen()
        asUnit { connection.write(bytes) }
        if !connection.isWritable { try await drained() }
    }

    /// Writes the bytes of another collection, such as Foundation's `Data`, like `write` for bytes.
    public nonisolated(nonsending) func write(_ bytes: some Collection<UInt8>) async throws {
        try checkOpen()
        asUnit { connection.write(bytes) }
        if !connection.isWritable { try await drained() }
    }

    /// Writes text as UTF-8, like `write` for bytes.
    public nonisolated(nonsending) func write(_ text: String) async throws {
        try checkOpen()
        asUnit { connection.write(text) }
        if !connection.isWritable { try await drained() }
    }

    /// Runs `body`, whose writes are one datagram of their own on a datagram socket.
    private func asUnit(_ body: () -> Void) {
        guard isDatagram, let core = connection.core else { return body() }
        core.writeWhole(connection.record, body)
    }

    /// Gathers bytes, and never waits: for the closures that get lent bytes. They are sent when the
    /// task waits next. A task that only gathers calls `drained()` between, so that a peer that
    /// does not read holds it back. Does nothing after a close.
    public func gather(_ bytes: RawSpan) {
        if isOpen { connection.write(bytes) }
    }

    /// Like `gather` for lent bytes.
    public func gather(_ bytes: [UInt8]) {
        if isOpen { connection.write(bytes) }
    }

    /// Like `gather` for lent bytes, with another collection.
    public func gather(_ bytes: some Collection<UInt8>) {
        if isOpen { connection.write(bytes) }
    }

    /// Like `gather` for lent bytes, with text as UTF-8.
    public func gather(_ text: String) {
        if isOpen { connection.write(text) }
    }

    /// Writes bytes, and returns when the kernel has them. Throws if it never will.
    public nonisolated(nonsending) func send(_ bytes: [UInt8]) async throws {
        try checkOpen()
        let cause = await withUnsafeContinuation { continuation in
            guard reason == nil, let core = connection.core else {
                return continuation.resume(returning: CloseCause?.some(.local))
            }
            let record = connection.record
            bytes.withUnsafeBytes { bytes in
                guard isDatagram else {
                    return core.write(record, bytes) { continuation.resume(returning: $0) }
                }
                core.writeWhole(record, tell: { continuation.resume(returning: $0) }) {
                    core.write(record, bytes)
                }
            }
        }
        guard cause != nil else { return }
        try checkOpen()
        throw NetError.closed
    }

    /// Sends like `send` for an array, but another collection, which is copied.
    public nonisolated(nonsending) func send(_ bytes: some Collection<UInt8>) async throws {
        let bytes = Array(bytes)
        try await send(bytes)
    }

    /// Ends our side of the stream after the written bytes. Reading goes on.
    public func finish() {
        if isOpen { connection.shutdownWrite() }
    }

    /// Sends the written bytes, then closes. Waits of the task end.
    public func close() {
        if isOpen { connection.close() }
    }

    /// Closes at once: unsent bytes are dropped, and the peer receives a reset. Also after `close`,
    /// while the last bytes are sent.
    public func abort() {
        if isOpen { connection.abort() } else { handle.abort() }
    }
}
