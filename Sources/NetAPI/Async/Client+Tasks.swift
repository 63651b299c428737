internal import MillraceEventLoop

/// Connections that a task makes, uses and closes.
extension Client {
    /// Creates a client for `withConnection` only. Throws `.invalidOption` or
    /// `.backendUnavailable`.
    public convenience init(options: Options = Options()) throws(NetError) {
        try self.init(TaskHandler(body: nil), options: options.forTasks)
    }

    /// Connects, and runs `body` with the connection on its loop's thread. When `body` returns or
    /// throws, the written bytes are sent and the connection closes. For a client without a
    /// handler; with one, throws `.unsupported`.
    ///
    /// Cancelling the task abandons the connect or resets the connection, and the waits of `body`
    /// throw `CancellationError`. Throws the errors of `connect(to:timeout:)`, or that of `body`.
    public func withConnection<R: Sendable>(
        to address: Address, timeout: Duration = .seconds(10),
        _ body: @Sendable (_ connection: AsyncConnection) async throws -> R
    ) async throws -> R {
        guard isForTasks else {
            throw NetError(
                .unsupported, "the connections of this client have a handler",
                "make another with Client(options:)")
        }
        let handle = try await connect(to: address, timeout: timeout)
        guard let remote = handle.remote else { throw NetError.closed }
        return try await withTaskExecutorPreference(remote) {
            guard let record = LoopCore.current?.find(handle.token), record.state == .open else {
                throw NetError.closed
            }
            let connection = AsyncConnection(Connection(record), isHeldBack: true)
            return try await withTaskCancellationHandler {
                do {
                    let result = try await body(connection)
                    connection.finished(nil)
                    return result
                } catch {
                    connection.finished(error)
                    throw error
                }
            } onCancel: {
                handle.cancelTask()
            }
        }
    }
}

extension ConnectionHandle {
    /// Tells the connection's task on its loop that it was cancelled.
    fileprivate func cancelTask() {
        let token = token
        _ = remote?.post(
            .run { loop in
                // Also of a connection that is closing already.
                guard let record = loop.find(token) else { return }
                AsyncConnection.of(Connection(record))?.cancelled()
            }, always: true)
    }
}
