/// Lingering: `onClose` has run, all written bytes are sent, and the descriptor stays open as long
/// as a close could destroy bytes.
///
/// A close with unread input, or with input still to come, makes the kernel reset the connection. A
/// reset destroys bytes that the peer's host has not acknowledged; on some systems also bytes that
/// the peer has not read. So our end is sent, and input is discarded until the peer has ended its
/// side.
///
/// A silent peer whose host has all bytes can lose none, so its end is not awaited. A peer that
/// sends is awaited until it has been silent for the linger time, and for twice that time at most.
/// nginx has a `lingering_timeout` and a `lingering_time`.
extension Loop {
    private static var longestLook: Nanoseconds { 500_000_000 }

    /// Whether a close is safe: the peer is quiet, its host has all bytes, and no input was
    /// discarded. False, for another check later, while input may be queued behind the current
    /// completion.
    func isTaken(_ connection: ConnectionReference) -> Bool {
        let descriptor = connection.descriptor
        return connection.lastReceived + Drain.quietTime <= now && !isBehind
            && !driver.mayHoldInput
            && connection.discarded == 0
            && sockets.unacknowledged(descriptor) == 0 && !sockets.hasUnread(descriptor)
    }

    func linger(_ connection: ConnectionReference) {
        connection.state = .lingering
        connection.phaseStart = now
        counters.lingering.add()
        // Before the end is sent, as in a close without lingering: a peer that has seen our end
        // finds the connection closed here too.
        tellClosed(connection, nil)
        sendEnd(connection)
        armTimer(connection)
    }

    /// The next check: soon at first, then less and less often, but not after the end of lingering.
    func nextLook(at connection: ConnectionReference) -> Nanoseconds {
        let passed = now - connection.phaseStart
        let look = max(Drain.quietTime, min(passed / 2, Self.longestLook))
        return min(now + look, lingerEnd(of: connection))
    }

    private func lingerEnd(of connection: ConnectionReference) -> Nanoseconds {
        let (since, limit) = (connection.phaseStart, configuration.lingerTimeout)
        return min(max(since, connection.lastReceived), since + limit) + limit
    }

    func lookAtLingering(_ connection: ConnectionReference) {
        guard lingerEnd(of: connection) <= now || isTaken(connection) else {
            return armTimer(connection)
        }
        beginClosing(connection)
    }
}
