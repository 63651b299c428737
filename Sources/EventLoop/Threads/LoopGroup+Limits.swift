import Synchronization

/// Limits on the connections of all loops together and on those of each host.
extension LoopGroup: ConnectionLimits {
    package func takeRoom() -> Bool { takeRoom(behind: parked.load(ordering: .relaxed)) }

    package func connectionParked() { parked.add(1, ordering: .relaxed) }

    package func takeRoomForParked() -> Bool {
        guard takeRoom(behind: 0) else { return false }
        parked.subtract(1, ordering: .relaxed)
        // Other loops may have left free room to the parked connection, and `connectionClosed`
        // notifies only of the first free place.
        if connections.load(ordering: .relaxed) < configuration.connectionLimit {
            resumeAccepting()
        }
        return true
    }

    package func parkedConnectionAdded() {
        parked.subtract(1, ordering: .relaxed)
        connectionAdded()
    }

    private func takeRoom(behind others: Int) -> Bool {
        var count = connections.load(ordering: .relaxed)
        while count < configuration.connectionLimit - others {
            let (isExchanged, found) = connections.weakCompareExchange(
                expected: count, desired: count + 1, ordering: .relaxed)
            if isExchanged { return true }
            count = found
        }
        return false
    }

    package func connectionAdded() { connections.add(1, ordering: .relaxed) }

    package func connectionClosed() {
        let before = connections.subtract(1, ordering: .relaxed).oldValue
        if before == configuration.connectionLimit || wasCloseAwaited { resumeAccepting() }
    }

    package func acceptAwaitsClose() {
        isCloseAwaited.store(true, ordering: .sequentiallyConsistent)
    }

    /// True for the first close since `acceptAwaitsClose`. Only a load while accepting succeeds.
    private var wasCloseAwaited: Bool {
        isCloseAwaited.load(ordering: .relaxed)
            && isCloseAwaited.exchange(false, ordering: .sequentiallyConsistent)
    }

    package func hostConnected(_ host: SocketAddress) -> Bool {
        guard let limit = configuration.hostLimit else { return true }
        return hosts.withLock { hosts in
            let count = hosts[host, default: 0]
            guard count < limit else { return false }
            hosts[host] = count + 1
            return true
        }
    }

    package func hostDisconnected(_ host: SocketAddress) {
        guard configuration.hostLimit != nil else { return }
        hosts.withLock { hosts in
            let count = hosts[host, default: 0]
            hosts[host] = count > 1 ? count - 1 : nil
        }
    }

    package var hasRoom: Bool {
        connections.load(ordering: .relaxed)
            < configuration.connectionLimit - parked.load(ordering: .relaxed)
    }
}
