/// Timers of the loop itself and of handlers; all of them live in one queue.

enum TimerAction {
    /// A connection's deadline: what it means depends on its state.
    case connection(Token)
    /// The same, found to have passed, looked at once more.
    case overdue(Token)
    case tick
    /// A listener that could not accept tries again.
    case acceptAgain(Int)
    /// A connect that met a full backlog tries again.
    case connectAgain(Token)
    /// Blocking work that was asked for when the pool had just refused some.
    case workAgain(Token)
    /// A datagram socket that has failed to receive again and again tries once more.
    case receiveAgain(Token)
    case handler(LoopTimer)
}

/// A handler's timer. Confined to its loop.
package final class LoopTimer {
    fileprivate weak var loop: Loop?
    fileprivate var id = TimerQueue<TimerAction>.ID.none
    fileprivate var period: Nanoseconds?
    /// When it is due, which is not when it fires: a period is counted from here.
    fileprivate var deadline: Nanoseconds = 0
    fileprivate var body: (() throws -> Void)?
    /// Where an error of `body` goes; nil: it stops the server.
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

    /// Harmless when it has fired or the loop has ended.
    package func cancel() {
        // Let go of at the end: what it has captured may cancel this timer once more.
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
            loop: self, period: period, connection: connection?.pointee.token, body: body)
        guard !hasEnded else {
            timer.cancel()
            return timer
        }
        // From this moment, not from the turn's beginning: never early.
        timer.deadline = driver.clock + max(0, delay)
        timer.id = timers.schedule(at: timer.deadline, .handler(timer))
        if let details = connection?.pointee.details?.takeUnretainedValue() {
            details.add(timer)
        }
        return timer
    }

    /// True if any was due.
    func runDueTimers() -> Bool {
        // A timer that re-arms itself for now waits for the next turn: bounded by those due at the
        // start.
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
            case .workAgain(let token):
                if let connection = table.find(token) { startWork(connection) }
            case .receiveAgain(let token):
                if let connection = table.find(token) { updateReading(connection) }
            case .acceptAgain(let listener):
                if listeners[listener].state == .backingOff { startAccepting(listener) }
            case .handler(let timer): fire(timer)
            }
            // What is due goes on in the next turn: connections have theirs in between.
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

    /// Counted from the last one, so that what a loop is late does not add up. Those that it has
    /// missed are left out: all of them at once would make it later still.
    private func nextDeadline(after last: Nanoseconds, period: Nanoseconds) -> Nanoseconds {
        let missed = max(0, now - last) / period
        return last + (missed + 1) * period
    }
}

extension ConnectionDetails {
    /// Notes a timer that ends with the connection. Those that fired are dropped when the list has
    /// doubled since they last were: it stays as long as timers are many, and a thousand timers
    /// cost no more than a thousand times one.
    fileprivate func add(_ timer: LoopTimer) {
        if timers.count >= timersToSweep {
            timers.removeAll { !$0.isScheduled }
            timersToSweep = Int32(clamping: max(8, timers.count * 2))
        }
        timers.append(timer)
    }
}
