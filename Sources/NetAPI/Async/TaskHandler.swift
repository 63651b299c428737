/// The handler of connections with tasks: passes each event to the connection's task. Package, for
/// simulations.
package struct TaskHandler: EventHandler, Sendable {
    package typealias Body = @Sendable (AsyncConnection) async throws -> Void
    /// The task of each connection. Nil in a client, whose callers bring their own.
    let body: Body?

    package init(body: Body?) { self.body = body }

    package func onOpen(_ connection: Connection) -> Action {
        guard let body else {
            // Until the caller has it. Its bytes are kept for the caller like for a task at work.
            let others = connection.context
            connection.context = nil
            connection.details?.hasTask = true
            connection.isBusy = true
            connection.pauseReading()
            // The end of the object may run anything.
            withExtendedLifetime(others) {}
            return .none
        }
        AsyncConnection(connection).start(body)
        return .none
    }

    package func onTraffic(_ connection: Connection) -> Action {
        guard let task = AsyncConnection.of(connection) else {
            // A call from elsewhere has ended the pause for the caller.
            connection.pauseReading()
            return .none
        }
        task.hasInput()
        return .none
    }

    package func onWritable(_ connection: Connection) -> Action {
        AsyncConnection.of(connection)?.hasRoom()
        return .none
    }

    package func onHalfClose(_ connection: Connection) -> Action {
        AsyncConnection.of(connection)?.peerEnded()
        return .none
    }

    package func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
        AsyncConnection.of(connection)?.closed(reason)
        return .none
    }
}

extension Options {
    /// The options for connections with tasks: the end of the peer's stream is told, and the
    /// task's own end closes.
    package var forTasks: Options {
        var options = self
        options.allowHalfClosure = true
        return options
    }
}

extension Server {
    /// Creates a server whose every connection has a task, which begins when the connection opens
    /// and lives on the connection's loop. The connection closes when `serve` returns; its error is
    /// the reason then. A stop lets tasks finish: a connection counts as busy except while its task
    /// waits for input. `Options.allowHalfClosure` is always on.
    ///
    /// Throws `.invalidAddress`, `.invalidOption` or `.backendUnavailable`. Nothing is bound yet.
    public convenience init(
        listen: Address..., options: Options = Options(),
        serve: @escaping @Sendable (_ connection: AsyncConnection) async throws -> Void
    ) throws(NetError) {
        try self.init(listen: listen, options: options, serve: serve)
    }

    /// Creates a server with tasks, like `init(listen:options:serve:)`, for a list made at run
    /// time.
    public convenience init(
        listen: [Address], options: Options = Options(),
        serve: @escaping @Sendable (_ connection: AsyncConnection) async throws -> Void
    ) throws(NetError) {
        try self.init(TaskHandler(body: serve), listen: listen, options: options.forTasks)
    }
}
