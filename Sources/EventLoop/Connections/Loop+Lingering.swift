/// Lingering: the handler's part is over, all that was written is sent, and the descriptor stays as
/// long as a close could destroy something.
///
/// A close with unread input, or with input still to come, makes the kernel reset the connection,
/// which throws away what the peer's host has not acknowledged; some throw away what the peer has
/// not read, too. So our end is sent, and what comes is thrown away, until the peer has ended its
/// side. A peer whose host has everything and that sends nothing has nothing to lose: it is not
/// waited for. One that does send is waited for until it has been silent for the linger time, and
/// whatever it does for at most twice that (nginx has a `lingering_timeout` and a
/// `lingering_time`).
extension Loop {
    private static var longestLook: Nanoseconds { 500_000_000 }

    /// Nothing is in the way of a close: the peer has everything, and has sent nothing that was
    /// thrown away. In the middle of a pull that cannot be told where input may be behind what is
    /// being handled: then it is looked at again.
    func isTaken(_ connection: ConnectionReference) -> Bool {
        let descriptor = connection.pointee.descriptor
        return connection.pointee.lastReceived + Self.quietTime <= now && !isBehind
            && !driver.mayHoldInput
            && connection.pointee.discarded == 0
            && sockets.unacknowledged(descriptor) == 0 && !sockets.hasUnread(descriptor)
    }

    func linger(_ connection: ConnectionReference) {
        connection.pointee.state = .lingering
        connection.pointee.lingerStart = now
        port.counters.lingering.add()
        // Before the end, as where nothing is waited for: a peer that has seen it finds the
        // connection over here too.
        tellClosed(connection, nil)
        sendEnd(connection)
        armTimer(connection)
    }

    /// Soon at first, and then less and less often, but not later than the end.
    func nextLook(at connection: ConnectionReference) -> Nanoseconds {
        let passed = now - connection.pointee.lingerStart
        let look = max(Self.quietTime, min(passed / 2, Self.longestLook))
        return min(now + look, lingerEnd(of: connection))
    }

    private func lingerEnd(of connection: ConnectionReference) -> Nanoseconds {
        let (since, limit) = (connection.pointee.lingerStart, configuration.lingerTimeout)
        return min(max(since, connection.pointee.lastReceived), since + limit) + limit
    }

    func lookAtLingering(_ connection: ConnectionReference) {
        guard lingerEnd(of: connection) <= now || isTaken(connection) else {
            return armTimer(connection)
        }
        beginClosing(connection)
    }
}
