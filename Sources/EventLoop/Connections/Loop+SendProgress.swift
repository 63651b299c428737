/// Detection of progress by a slow peer, from the kernel's send queue.
///
/// A kernel that holds megabytes for a peer reports no event until a third of them is gone. For a
/// peer that reads 20 kB a second, that is a minute. The send queue (SIOCOUTQ) shows earlier how
/// much the peer's host has accepted. While bytes wait, it is checked when a deadline is due, and
/// four times per time-out.
extension Loop {
    /// Whether bytes wait until the peer reads more. Datagrams do not wait.
    func awaitsPeer(_ connection: ConnectionReference) -> Bool {
        owes(connection)
            && connection.flags.isDisjoint(with: [.datagrams, .broken])
    }

    /// The longest time without progress while bytes wait for the peer; nil: no limit, or no bytes.
    private func progressTimeout(_ connection: ConnectionReference) -> Nanoseconds? {
        guard awaitsPeer(connection) else { return nil }
        switch connection.state {
        case .open:
            return [configuration.idleTimeout, configuration.writeTimeout].compactMap { $0 }.min()
        case .finishing: return configuration.closeTimeout
        case .connecting, .securing, .lingering, .closing, .free, .listening: return nil
        }
    }

    func nextSendQueueCheck(_ connection: ConnectionReference) -> Nanoseconds? {
        progressTimeout(connection).map { now + max(1, $0 / 4) }
    }

    /// Checks the send queue of an open or finishing connection. The kernel may still hold bytes
    /// when the loop has none left.
    func checkSendQueue(_ connection: ConnectionReference) {
        guard connection.state == .open || connection.state == .finishing,
            connection.flags.isDisjoint(with: [.datagrams, .broken])
        else { return }
        noteSendQueue(connection, sockets.sendQueue(connection.descriptor))
    }

    /// Stores the queue's length. That counts as progress unless an earlier check, since the last
    /// progress, found the same length. The first check of waiting bytes counts, since it has no
    /// length to compare.
    func noteSendQueue(_ connection: ConnectionReference, _ count: Int) {
        let hasWaiting = count > 0 || owes(connection)
        // A connection without waiting bytes, now and before, has no length to store.
        guard let details = connection.details?.takeUnretainedValue(),
            hasWaiting || details.hasExtras
        else { return }
        let (count, extras) = (Int32(clamping: count), details.extras)
        let isChecked = extras.sendQueueChecked >= connection.lastSent
        let hasMoved = isChecked ? count != extras.sendQueue : hasWaiting
        if hasMoved { connection.lastSent = now }
        extras.sendQueue = count
        extras.sendQueueChecked = now
    }
}
