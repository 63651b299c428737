/// The timers of the loop and of handlers, in one queue.

enum TimerAction {
    /// A connection's deadline, with a meaning that depends on its state.
    case connection(Token)
    /// Like `connection`, but a second check after the deadline had passed.
    case overdue(Token)
    case tick
    /// A listener that could not accept tries again.
    case acceptAgain(Int)
    /// A connect that met a full backlog tries again.
    case connectAgain(Token)
    /// A connect by name begins its next attempt or has reached its deadline.
    case namedConnect(UInt64)
    /// Blocking work is submitted again after the pool refused some.
    case workAgain(Token)
    /// A datagram socket tries again after repeated receive failures.
    case receiveAgain(Token)
    /// Handshakes wait for others that may take too long.
    case turns
    case handler(LoopTimer)
}

/// A timer of a handler, confined to its loop.
package final class LoopTimer {
    fileprivate weak var loop: Loop?
    fileprivate var id = TimerQueue<TimerAction>.ID.none
    fileprivate var period: Nanoseconds?
    /// The scheduled time, from which a period is counted; the timer may fire later.
    fileprivate var deadline: Nanoseconds = 0
    fileprivate var body: (() throws -> Void)?
    /// The connection that an error of `body` closes; nil: the error stops the server.
    fileprivate let connection: Token?

    fileprivate init(
        loop: Loop, period: Nanoseconds?, connection: Token?, body: @escaping () throws -> Void
    ) {
        self.loop = loop
        self.period = period
        self.connection = connection
        self.body = body
    }

    package var isScheduled: Bool { body != nil }

    /// Cancels the timer. Does nothing after it has fired or the loop has ended.
    package func cancel() {
        // Released at the end: objects captured by the closure may cancel this timer again.
        var body: (() throws -> Void)?
        swap(&body, &self.body)
        period = nil
        loop?.timers.cancel(id)
    }
}

extension Loop {
    /// Runs `body` after `delay`, and with a period again and again until cancelled.
    package func schedule(
        after delay: Nanoseconds, every period: Nanoseconds? = nil,
        for connection: ConnectionReference? = nil, _ body: @escaping () throws -> Void
    ) -> LoopTimer {
        let timer = LoopTimer(
            loop: self, period: period, connection: connection?.token, body: body)
        guard !hasEnded else {
            timer.cancel()
            return timer
        }
        // From this moment, not from the turn's start, so that the timer is never early.
        timer.deadline = driver.clock + max(0, delay)
        timer.id = timers.schedule(at: timer.deadline, .handler(timer))
        if let details = connection?.details?.takeUnretainedValue() {
            details.extras.add(timer)
        }
        return timer
    }

    /// Runs due timers. True if any was due.
    func runDueTimers() -> Bool {
        // A timer that re-arms itself for now waits for the next turn: the count at the start is
        // the bound.
        let timerCount = timers.count
        var left = timerCount
        let end = timerCount > 0 ? driver.clock + Self.turnBudget : now
        while left > 0, let action = timers.popDue(at: now) {
            left -= 1
            switch action {
            case .connection(let token):
                if let connection = table.find(token) {
                    deadlinePassed(connection, isSecondLook: false)
                }
            case .overdue(let token):
                if let connection = table.find(token) {
                    deadlinePassed(connection, isSecondLook: true)
                }
            case .tick: tick()
            case .connectAgain(let token):
                if let connection = table.find(token) { connectAgain(connection) }
            case .namedConnect(let id): namedConnectDue(id)
            case .workAgain(let token):
                if let connection = table.find(token) { startWork(connection) }
            case .receiveAgain(let token):
                if let connection = table.find(token) { updateReading(connection) }
            case .acceptAgain(let listener):
                if acceptor.isBackingOff(listener) { startAccepting(listener) }
            case .turns: endLongTurns()
            case .handler(let timer): fire(timer)
            }
            // Due timers continue in the next turn, after connections' events.
            if left & 15 == 0 && driver.clock >= end { break }
        }
        return left < timerCount
    }

    private func fire(_ timer: LoopTimer) {
        guard let body = timer.body else { return }
        if let period = timer.period {
            timer.deadline = nextDeadline(after: timer.deadline, period: max(1, period))
            timer.id = timers.schedule(at: timer.deadline, .handler(timer))
        } else {
            timer.body = nil
        }
        runClosure(for: timer.connection) { _ in try body() }
    }

    /// Counted from the last deadline, so that delays of the loop do not add up. Missed deadlines
    /// are skipped: to run them all would delay the loop further.
    private func nextDeadline(after last: Nanoseconds, period: Nanoseconds) -> Nanoseconds {
        let missed = max(0, now - last) / period
        return last + (missed + 1) * period
    }
}

extension ConnectionDetails.Extras {
    /// Adds a timer that ends with the connection. Fired timers are dropped when the list has
    /// doubled since the last sweep. So the list is bounded by the live timers, and a thousand adds
    /// cost a thousand times one.
    fileprivate func add(_ timer: LoopTimer) {
        if timers.count >= timersToSweep {
            timers.removeAll { !$0.isScheduled }
            timersToSweep = Int32(clamping: max(8, timers.count * 2))
        }
        timers.append(timer)
    }
}
