import Glibc

/// A loop's end: connections that are quiet close, those in the middle of something get to finish
/// it, and at the deadline all are aborted.

enum LoopPhase: Equatable {
    case running
    /// No more accepting here.
    case acceptedLast
    /// Since when, and when patience ends.
    case draining(since: Nanoseconds, deadline: Nanoseconds)
    /// No connection left; waits for the other loops.
    case drained
    case ended
}

extension Loop {
    /// A peer that was silent for this long is not in the middle of sending.
    static var quietTime: Nanoseconds { 20_000_000 }
    /// A peer that has just connected, and was sent nothing yet, may be about to send: its first
    /// bytes need a round trip more.
    private static var firstByteTime: Nanoseconds { 100_000_000 }

    /// A second request may shorten the time, not lengthen it.
    func drain(within limit: Nanoseconds) {
        switch phase {
        case .running, .acceptedLast:
            // Taking in who waited was part of the same time.
            let deadline = max(now, (stopHeard ?? now) + limit)
            phase = .draining(since: now, deadline: deadline)
        case .draining(let since, let deadline):
            phase = .draining(since: since, deadline: min(deadline, now + limit))
        // No look is due: nobody would take one, and the loop would not sleep until the others end.
        case .drained, .ended: return
        }
        drainDeadline = now
    }

    /// The server is asked to stop: nobody is accepted any more.
    package var isStopping: Bool {
        phase != .running || listeners.contains { $0.isStopping }
    }

    package func isBusy(_ connection: ConnectionReference) -> Bool {
        connection.pointee.flags.contains(.busy)
    }

    package func setBusy(_ connection: ConnectionReference, _ isBusy: Bool) {
        guard isBusy != connection.pointee.flags.contains(.busy) else { return }
        if isBusy {
            connection.pointee.flags.insert(.busy)
        } else {
            // The peer has as long as if it had moved now; but a drain need not wait again.
            if !isStopping { connection.pointee.lastReceived = now }
            connection.pointee.flags.remove(.busy)
            connection.pointee.flags.remove(.endShown)
            workDone(connection)
        }
    }

    func advanceDrain() {
        guard case .draining(let since, let deadline) = phase else { return }
        if let due = drainDeadline, due <= now { lookAtConnections(since, deadline) }
        // Connections that were handed over and not taken yet are to be served too.
        guard table.count == 0, port.adoptions.isNone else { return }
        drainDeadline = nil
        phase = .drained
        owner.drained(index)
    }

    /// Closes who is quiet, and notes when somebody else may be.
    private func lookAtConnections(_ since: Nanoseconds, _ deadline: Nanoseconds) {
        // Half of the time is for peers that keep sending, the other half for sending the last
        // bytes out.
        let patience = since + (deadline - since) / 2
        drainDeadline = now < deadline ? deadline : nil
        for token in table.tokens(where: { $0.state != .listening && $0.state != .closing }) {
            guard let connection = table.find(token) else { continue }
            let quietAt = quietTime(of: connection, since)
            if connection.pointee.state == .connecting {
                abandonConnect(connection, SystemError(ECANCELED, "connect"))
            } else if now >= deadline {
                // The kernel has all of a lingering one, and goes on delivering it after a close.
                if connection.pointee.state == .lingering {
                    beginClosing(connection)
                } else {
                    abort(connection, .shutdown)
                }
            } else if connection.pointee.state == .open {
                let end = min(patience, quietAt)
                if now < patience && now >= quietAt && hasUnread(connection) {
                    drainDeadline = min(drainDeadline ?? .max, now + Self.quietTime)
                } else if now >= end {
                    close(connection, .shutdown)
                } else {
                    drainDeadline = min(drainDeadline ?? end, end)
                }
            }
        }
    }

    private func quietTime(
        of connection: ConnectionReference, _ since: Nanoseconds
    ) -> Nanoseconds {
        guard !isWorking(connection) else { return .max }
        let moved = connection.pointee.lastProgress
        let quietAt = max(since, moved) + Self.quietTime
        let isNew = connection.pointee.lastSent == 0
        return isNew ? max(quietAt, moved + Self.firstByteTime) : quietAt
    }

    /// It looks silent only because this loop did not come to listen: it was held up by a callback,
    /// or by others, or the driver has no buffer for it yet, or has its bytes in a queue that this
    /// turn did not get to the end of.
    func hasUnread(_ connection: ConnectionReference) -> Bool {
        if isBehind { return true }
        return connection.pointee.flags.isDisjoint(with: .notReading)
            && sockets.hasUnread(connection.pointee.descriptor)
    }

    /// Says goodbye and lets go of everything. Posts are refused from now on.
    func end() {
        guard !hasEnded else { return }
        sayGoodbye()
        endQuietly()
        replaceDelegate(by: delegate.rest)
    }

    private func sayGoodbye() {
        depth += 1
        delegate.shutDown(self)
        depth -= 1
    }

    /// Of a loop whose driver has failed: its handler's last callback, for which the other loops
    /// had to be drained first. Nothing for others.
    package func endAfterFailure() {
        guard owesGoodbye else { return }
        owesGoodbye = false
        sayGoodbye()
        replaceDelegate(by: delegate.rest)
    }

    private func endQuietly() {
        phase = .ended
        closeMailbox()
        tellLastRefusals()
        for stream in listeners.flatMap(\.parked) { sockets.discard(stream.descriptor) }
        letGo()
    }

    /// Of everything that belongs to the program, which may itself hold this loop, and of the
    /// kernel's. Some of it may look at the loop as it goes. Of the handler last.
    private func letGo() {
        while let action = timers.popDue(at: .max) {
            if case .handler(let timer) = action { timer.cancel() }
        }
        driver.shutDown()
        port.mailbox.forgetWaker()
    }

    private func closeMailbox() {
        let left = takeLeftMessages()
        for message in left + port.mailbox.close() {
            switch message {
            case .adopt(let stream, _, let host):
                _ = port.adoptions.remove()
                if let host { owner.hostDisconnected(host) }
                sockets.discard(stream.descriptor)
                owner.connectionClosed()
            case .run(let body): runClosure(for: nil) { body($0) }
            case .startAccepting, .resumeAccepting, .stopAccepting, .drain, .end: break
            }
        }
    }

    /// The kernel refuses to serve this loop at all: every connection is told, and the server
    /// stops.
    func driverFailed(_ error: SystemError) {
        port.counters.driverErrors.add()
        owner.report(.driverFailed(error, loop: index))
        // Nothing new begins; what the driver still has is freed when it has let go of it.
        phase = .drained
        let tokens = cutConnections(error)
        for listener in listeners.indices { cutListener(listener) }
        endQuietly()
        owesGoodbye = true
        forgetConnections(tokens)
        owner.stopRequested(.failed(error))
        owner.acceptingStopped(index)
        owner.drained(index)
    }

    /// The driver closes those that it has.
    private func cutListener(_ listener: Int) {
        guard listeners[listener].state != .closed else { return }
        removePath(of: listeners[listener].bound)
        if listeners[listener].token == nil {
            sockets.discard(listeners[listener].bound.descriptor)
        }
        forgetOutbox(listener)
        listeners[listener].state = .closed
    }

    private func cutConnections(_ error: SystemError) -> [Token] {
        let tokens = table.tokens(where: { $0.state != .listening })
        for token in tokens {
            guard let connection = table.find(token) else { continue }
            if connection.pointee.state == .connecting { abandonConnect(connection, error) }
            if connection.pointee.state != .closing { beginClosing(connection, .reset(error)) }
        }
        return tokens
    }

    /// The driver, which has ended, has no last words for them.
    private func forgetConnections(_ tokens: [Token]) {
        for token in tokens {
            if let connection = table.find(token), connection.pointee.state == .closing {
                closed(connection)
            }
        }
    }

    /// For a start that failed: nothing was accepted yet, and no handler is told of an end. Who
    /// began to connect in `onBoot` is.
    package func abandon() {
        for listener in listeners where listener.token == nil {
            removePath(of: listener.bound)
            sockets.discard(listener.bound.descriptor)
        }
        phase = .ended
        let tokens = cutConnections(SystemError(ECANCELED, "connect"))
        closeMailbox()
        tellLastRefusals()
        letGo()
        replaceDelegate(by: delegate.rest)
        forgetConnections(tokens)
    }
}
