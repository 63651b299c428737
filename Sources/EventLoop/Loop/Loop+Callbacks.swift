/// Calls into a handler's code, and the work right after each: unread bytes are kept, written bytes
/// are sent, requested actions run.

extension Loop {
    /// Runs one callback of `connection`.
    @inline(__always)
    func callback(
        _ connection: ConnectionReference, _ body: (any LoopDelegate) throws -> LoopAction
    ) {
        let outer = current
        current = connection
        depth &+= 1
        closureCount &+= 1
        var action = LoopAction.none
        do {
            action = try body(delegate)
        } catch {
            handlerFailed(connection, error)
        }
        depth &-= 1
        current = outer
        if depth == 0 { return leave(connection, action, driver) }
        apply(action, to: connection)
        // A nested callback may have closed the connection while it was the current one.
        if connection.flags.contains(.notOpen) { enqueue(connection) }
    }

    @usableFromInline
    @inline(never)
    func settle(_ connection: ConnectionReference) {
        connection.inbound.settle()
        let isAwaiting = connection.flags.contains(.expectingInput)
        let cap = max(configuration.inboundLimit, isAwaiting ? connection.expectedInput : 0)
        if connection.inbound.count > cap { judgeUnread(connection) }
    }

    /// Closes a connection with too many unread bytes. That is the handler's fault only if it was
    /// shown all of them and leaves them. During a pause, of the library or of the handler, the
    /// excess is what the kernel had received before the stop: on epoll nothing. A task pauses its
    /// connection by itself, which it cannot once that is broken.
    private func judgeUnread(_ connection: ConnectionReference) {
        let flags = connection.flags
        let mayBeUnseen = !flags.isDisjoint(with: [
            .trafficDue, .paused([.handler, .output, .work, .connect]), .piped,
        ])
        guard connection.state == .open, !mayBeUnseen else { return }
        // Bytes received before a reset are shown as long as the handler consumes them.
        if flags.contains(.broken) { return close(connection, .peer) }
        guard !hasTask(connection) else { return }
        let isAboutToPause = flags.contains(.congested) && !flags.contains(.readsAhead)
        guard !isAboutToPause else { return }
        counters.inboundOverflows.add()
        close(connection, .inboundOverflow)
    }

    @usableFromInline
    @inline(never)
    func apply(_ action: LoopAction, to connection: ConnectionReference) {
        switch action {
        case .none: break
        case .close: close(connection, .local)
        case .shutdown:
            close(connection, .shutdown)
            owner.stopRequested(.shutdownAction)
        }
    }

    @usableFromInline
    @inline(never)
    func handlerFailed(_ connection: ConnectionReference, _ error: any Error) {
        close(connection, .handlerError(error))
    }

    /// Runs a closure of a handler or of another thread. Its error closes `token`'s connection, or
    /// without a token stops the server. With a token whose connection is gone the closure does not
    /// run.
    package func runClosure(for token: Token?, _ body: (Loop) throws -> Void) {
        let connection = token.flatMap { table.find($0) }
        if token != nil && connection == nil { return }
        depth += 1
        closureCount &+= 1
        do {
            try body(self)
        } catch {
            if let connection {
                close(connection, .handlerError(error))
            } else {
                owner.stopRequested(.failed(error))
            }
        }
        depth -= 1
        // The closure's writes form a datagram that later closures' writes do not join.
        if let connection { endDatagram(connection) }
        if depth == 0 && !retired.isEmpty { retired.free() }
    }

    // MARK: Callbacks of the loop itself

    /// Runs `onBoot` before any other event. Throws the handler's error.
    package func boot() throws {
        depth += 1
        defer { depth -= 1 }
        if try delegate.boot(self) == .shutdown { owner.stopRequested(.shutdownAction) }
        timers.schedule(at: now, .tick)
    }

    func tick() {
        depth += 1
        // Its writes form a datagram that those of a timer's closure before it do not join.
        closureCount &+= 1
        defer { depth -= 1 }
        do {
            switch try delegate.tick(self) {
            case .after(let delay): timers.schedule(at: driver.clock + max(0, delay), .tick)
            case .never: break
            case .shutdown: owner.stopRequested(.shutdownAction)
            }
        } catch {
            owner.stopRequested(.failed(error))
        }
    }
}
