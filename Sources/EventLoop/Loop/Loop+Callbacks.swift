/// How the loop enters a handler's code, and what it does right after: memory lent to the callback
/// is taken back, what was written goes out, what was asked for is done.

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
        // A callback inside another may have closed it while it was the current one.
        if connection.pointee.flags.contains(.notOpen) { enqueue(connection) }
    }

    @usableFromInline
    @inline(never)
    func settle(_ connection: ConnectionReference) {
        connection.pointee.inbound.settle()
        let isAwaiting = connection.pointee.flags.contains(.awaiting)
        let cap = max(configuration.inboundLimit, isAwaiting ? connection.pointee.awaited : 0)
        if connection.pointee.inbound.count > cap { judgeUnread(connection) }
    }

    /// Too much is unread. That is the handler's doing only if it was shown all of it, and if
    /// nothing but the handler keeps it from being taken: while the library itself pauses reading,
    /// no more than one receive can be behind the cap.
    private func judgeUnread(_ connection: ConnectionReference) {
        let flags = connection.pointee.flags
        let isPausedByUs = !flags.isDisjoint(with: [
            .trafficDue, .throttled, .workFull, .awaitingOther, .piped,
        ])
        guard connection.pointee.state == .open, !isPausedByUs else { return }
        // What a reset has left behind is shown as long as the handler takes it.
        if flags.contains(.broken) { return close(connection, .peer) }
        let isAboutToPause = flags.contains(.congested) && !flags.contains(.readsAhead)
        guard !isAboutToPause else { return }
        port.counters.inboundOverflows.add()
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
    /// else stops the server; with a token whose connection is gone it does not run.
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
        // What this closure wrote is a datagram, and not joined by what the next one writes.
        if let connection { endDatagram(connection) }
        if depth == 0 && !retired.isEmpty { retired.free() }
    }

    // MARK: Callbacks of the loop itself

    /// Once, before anything else happens here. Throws what the handler throws.
    package func boot() throws {
        depth += 1
        defer { depth -= 1 }
        if try delegate.boot(self) == .shutdown { owner.stopRequested(.shutdownAction) }
        timers.schedule(at: now, .tick)
    }

    func tick() {
        depth += 1
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
