/// A connect by name, from its lookup to its only result: which address is tried when, which socket
/// wins, and with which error the connect fails (RFC 8305, "Happy Eyeballs").
///
/// It only decides. The loop performs the commands and passes in the events with their times, so
/// every order of events is tested without a socket, a clock or a resolver. An event that comes
/// after the end, or a second time, has no effect.
package struct ConnectRace {
    package enum Command {
        /// Connect to the address with this number.
        case attempt(Int)
        /// Close the socket of this attempt. Its result no longer counts.
        case abandon(Int)
        /// Report the failure. Always the last command.
        case fail(ConnectFailure)
    }

    private enum Phase {
        case resolving
        /// `nextAt` is the time of the next attempt; nil: there is none. At least one is running.
        case racing(nextAt: Nanoseconds?)
        /// This attempt has won. Its handshake, if there is one, has the connection's own deadline.
        case won(Int)
        case over
    }

    private enum Attempt {
        case running
        case failed(SystemError)
        /// Closed at the deadline, or since another has won.
        case ended
    }

    /// The end of the whole connect: the lookup, every attempt and a handshake. Each attempt ends
    /// itself then, since the event of one that has succeeded may lie behind others.
    package let deadline: Nanoseconds
    /// The time between the starts of two attempts, unless the earlier one fails sooner.
    package let delay: Nanoseconds
    /// The addresses in the order of the attempts.
    package private(set) var addresses: [SocketAddress] = []
    private var phase = Phase.resolving
    /// The attempts that have begun, in the order of the addresses.
    private var attempts: [Attempt] = []

    package init(deadline: Nanoseconds, delay: Nanoseconds) {
        self.deadline = deadline
        self.delay = delay
    }

    package var isOver: Bool { if case .over = phase { true } else { false } }

    /// The time at which `timePassed` is due; nil: never.
    package var nextTime: Nanoseconds? {
        switch phase {
        case .resolving: deadline
        case .racing(let nextAt): nextAt.flatMap { $0 < deadline ? $0 : nil }
        case .won, .over: nil
        }
    }

    // MARK: Events

    /// Handles the resolver's addresses, which `AddressOrder` has put in order.
    package mutating func resolved(_ found: [SocketAddress], at now: Nanoseconds) -> [Command] {
        guard case .resolving = phase else { return [] }
        guard now < deadline else { return fail(.resolvingLate) }
        guard !found.isEmpty else { return fail(.noAddress) }
        addresses = found
        return begin(at: now)
    }

    package mutating func unresolved(_ error: any Error, at now: Nanoseconds) -> [Command] {
        guard case .resolving = phase else { return [] }
        return fail(now < deadline ? .unresolved(error) : .resolvingLate)
    }

    /// Handles the failure of an attempt, or of the winner's handshake.
    package mutating func failed(
        _ attempt: Int, _ error: any Error, at now: Nanoseconds
    ) -> [Command] {
        if case .won(attempt) = phase { return fail(.unsecured(addresses[attempt], error)) }
        guard case .racing(let nextAt) = phase, isRunning(attempt) else { return [] }
        let isLate = now >= deadline
        attempts[attempt] =
            isLate ? .ended : .failed(error as? SystemError ?? SystemError(0, "connect"))
        // Without a wait: the delay is for addresses that do not answer.
        if nextAt != nil && !isLate { return begin(at: now) }
        guard attempts.indices.contains(where: { isRunning($0) }) else {
            return fail(unconnected(isLate: isLate))
        }
        return []
    }

    /// Handles the first socket that is connected: every other one is closed, before a handshake
    /// begins on this one.
    package mutating func connected(_ attempt: Int) -> [Command] {
        guard case .racing = phase, isRunning(attempt) else { return [] }
        phase = .won(attempt)
        let losers = attempts.indices.filter { $0 != attempt && isRunning($0) }
        for loser in losers { attempts[loser] = .ended }
        return losers.map { .abandon($0) }
    }

    /// Handles the end of a connect that has succeeded, after a handshake if there is one. False if
    /// this attempt has not won or the connect was over.
    package mutating func opened(_ attempt: Int) -> Bool {
        guard case .won(attempt) = phase else { return false }
        phase = .over
        return true
    }

    /// Handles `nextTime`, or any other time.
    package mutating func timePassed(at now: Nanoseconds) -> [Command] {
        switch phase {
        case .resolving: return now < deadline ? [] : fail(.resolvingLate)
        case .racing(let nextAt):
            guard let nextAt, nextAt <= now else { return [] }
            if now < deadline { return begin(at: now) }
            phase = .racing(nextAt: nil)
            return []
        case .won, .over: return []
        }
    }

    /// Ends the connect, since its caller has cancelled it.
    package mutating func cancel(_ error: SystemError) -> [Command] {
        guard !isOver else { return [] }
        return abandonRunning() + fail(.cancelled(error))
    }

    /// Ends the connect, since the loop stops. A winner in its handshake is a connection like
    /// others, for which the drain decides.
    package mutating func stop(_ error: SystemError) -> [Command] {
        if case .won = phase { return [] }
        return cancel(error)
    }

    // MARK: Decisions

    private func isRunning(_ attempt: Int) -> Bool {
        guard attempts.indices.contains(attempt) else { return false }
        if case .running = attempts[attempt] { return true }
        return false
    }

    private mutating func begin(at now: Nanoseconds) -> [Command] {
        let attempt = attempts.count
        attempts.append(.running)
        phase = .racing(nextAt: attempt + 1 < addresses.count ? now + delay : nil)
        return [.attempt(attempt)]
    }

    private mutating func fail(_ failure: ConnectFailure) -> [Command] {
        phase = .over
        return [.fail(failure)]
    }

    private func abandonRunning() -> [Command] {
        attempts.indices.filter { isRunning($0) }.map { .abandon($0) }
    }

    private func unconnected(isLate: Bool) -> ConnectFailure {
        let reports = zip(addresses, attempts).map { address, attempt in
            switch attempt {
            case .running, .ended: AttemptReport(address: address, error: nil)
            case .failed(let error): AttemptReport(address: address, error: error)
            }
        }
        return .unconnected(reports, untried: addresses.count - reports.count, isLate: isLate)
    }
}

/// The reason for which a connect by name has failed, with the step that failed.
package enum ConnectFailure: Error {
    /// The resolver's error.
    case unresolved(any Error)
    /// The resolver knows no address of the wanted family.
    case noAddress
    /// The resolver had not answered by the deadline.
    case resolvingLate
    /// No address could be connected; `isLate` if the deadline has ended the last attempts.
    case unconnected([AttemptReport], untried: Int, isLate: Bool)
    /// The handshake with the address that was connected first.
    case unsecured(SocketAddress, any Error)
    case cancelled(SystemError)
}

/// The result of one attempt that did not succeed.
package struct AttemptReport: Hashable, Sendable {
    package let address: SocketAddress
    /// Nil: no answer by the deadline.
    package let error: SystemError?

    package init(address: SocketAddress, error: SystemError?) {
        self.address = address
        self.error = error
    }
}
