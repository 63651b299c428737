import Glibc

/// Connections that get their filter while they are open, as protocols with an upgrade do.
extension Loop {
    /// Lets a filter open and seal all bytes from here on. Written bytes go out as they are. Until
    /// the handshake has succeeded, the handler is not called for input, and what it writes waits.
    /// `secured` runs then, unless the connection closes before.
    ///
    /// Throws if bytes are unread: an attacker may have added them to the request for the upgrade,
    /// and the handler would take them for protected ones.
    package func upgrade(
        _ connection: ConnectionReference, by provider: any FilterProvider, isOwn: Bool,
        make: @escaping () throws -> any StreamFilter, secured: @escaping () throws -> Void
    ) throws(UpgradeRefusal) {
        try checkUpgrade(connection)
        guard let details = connection.details?.takeUnretainedValue() else { throw .closed }
        flush(connection)
        // That may have called the handler.
        try checkUpgrade(connection)
        let state = FilterState(
            provider, isOwn: isOwn, deadline: now + provider.handshakeTimeout, chunks, make: make)
        state.secured = secured
        state.takeOver(connection)
        details.filter = state
        connection.flags.insert(.filtered)
        // The bytes for which it was due are read.
        connection.flags.remove(.trafficDue)
        armTimer(connection)
        if isOwn {
            _ = beginHandshake(connection, state)
        } else {
            updateReading(connection)
        }
    }

    private func checkUpgrade(_ connection: ConnectionReference) throws(UpgradeRefusal) {
        let flags = connection.flags
        guard connection.state == .open, !flags.contains(.aborting) else { throw .closed }
        guard !flags.contains(.datagrams) else { throw .datagrams }
        guard !flags.contains(.filtered) else { throw .secured }
        guard connection.inbound.count == 0 else { throw .unread(connection.inbound.count) }
        guard flags.isDisjoint(with: [.writeEnded, .broken, .reserving]), !isInputOver(connection)
        else { throw .ended }
        guard !flags.contains(.piped), !isFed(connection) else { throw .piped }
        guard connection.outbound.fileCount == 0 else { throw .unsentFile }
    }

    /// Whether the handshake of the connection is in progress.
    func isSecuring(_ connection: ConnectionReference, _ state: FilterState) -> Bool {
        switch connection.state {
        case .securing: true
        case .open, .finishing: !state.isEstablished && state.secured != nil
        case .lingering, .closing, .free, .listening, .connecting: false
        }
    }

    /// Whether the connection is in the handshake of its upgrade.
    @inline(__always)
    func isUpgrading(_ connection: ConnectionReference) -> Bool {
        connection.flags.contains(.filtered) && isUpgradingSlow(connection)
    }

    @inline(never)
    private func isUpgradingSlow(_ connection: ConnectionReference) -> Bool {
        guard connection.state != .securing, !connection.flags.contains(.broken),
            let state = filter(of: connection)
        else { return false }
        return isSecuring(connection, state)
    }

    /// The deadline of an upgrade's handshake.
    func upgradeDeadline(_ connection: ConnectionReference) -> Nanoseconds? {
        isUpgrading(connection) ? filter(of: connection)?.deadline : nil
    }

    func upgraded(
        _ connection: ConnectionReference, _ state: FilterState, _ secured: () throws -> Void
    ) {
        state.secured = nil
        defer { enqueue(connection) }
        guard connection.state == .open else { return }
        armTimer(connection)
        callback(connection) { _ in
            try secured()
            return .none
        }
    }
}

/// The reason why a connection cannot be upgraded.
package enum UpgradeRefusal: Error, Equatable {
    case closed
    case datagrams
    case secured
    case ended
    case piped
    case unsentFile
    case unread(Int)
}
