package import MillraceEventLoop

/// Filters for connections that are open already. Package, for the targets that have filters.
extension Connection {
    /// Secures the connection from here on as the side that accepts handshakes. `secured` runs when
    /// the handshake has succeeded.
    package func upgrade(
        accepting filters: any AcceptingFilters, secured: @escaping (Connection) throws -> Void
    ) throws(NetError) {
        try upgrade(by: filters, isOwn: false, secured: secured) { loop in
            filters.accepting(on: loop)
        }
    }

    /// Like the above, as the side that begins them. The peer is verified by `name`, or without one
    /// by its address.
    package func upgrade(
        connecting filters: any ConnectingFilters, to name: String?,
        secured: @escaping (Connection) throws -> Void
    ) throws(NetError) {
        let known = name.map(HostName.certificateName)
        if let name, let known, !Address.isServerName(known) {
            throw .invalidOption("name", name, "give the host's name alone")
        }
        let address = details?.remoteAddress ?? .unix("", abstract: false)
        let peer = FilterPeer(name: known, address: address)
        try upgrade(by: filters, isOwn: true, secured: secured) { loop in
            try filters.connecting(to: peer, on: loop)
        }
    }

    private func upgrade(
        by filters: any FilterProvider, isOwn: Bool,
        secured: @escaping (Connection) throws -> Void,
        make: @escaping (_ loop: Int) throws -> any StreamFilter
    ) throws(NetError) {
        guard let core else { throw .closed }
        let index = core.index
        do throws(UpgradeRefusal) {
            try core.upgrade(record, by: filters, isOwn: isOwn) {
                try make(index)
            } secured: {
                try secured(self)
            }
        } catch {
            throw NetError(error)
        }
    }
}

extension NetError {
    fileprivate init(_ refusal: UpgradeRefusal) {
        switch refusal {
        case .closed: self = .closed
        case .datagrams: self.init(.unsupported, "a datagram socket has no stream to secure")
        case .secured: self.init(.unsupported, "the connection has TLS already")
        case .ended:
            self.init(.unsupported, "one side of the stream has ended, or is being written")
        case .piped:
            self.init(.unsupported, "a piped connection cannot be secured", "secure it first")
        case .unsentFile:
            self.init(.unsupported, "a file is not sent yet", "write it after the handshake")
        case .unread(let count):
            self.init(
                .insecure, "\(count) bytes are unread, which an attacker may have added",
                "consume the request for the upgrade, and close if more follows it")
        }
    }
}
