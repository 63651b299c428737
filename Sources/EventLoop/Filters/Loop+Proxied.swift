/// Connections behind a proxy: the PROXY header comes before the handshake and before `onOpen`.
///
/// The header is read by a filter, so that one deadline, one state and one stop serve all
/// connections that no handler knows of yet. It is replaced by what lies behind the header.
extension Loop {
    /// Begins what lies below the handler's bytes of an accepted connection.
    @inline(never)
    func openLayers(_ connection: ConnectionReference, _ layers: StreamLayers) {
        guard layers.contains(.proxied) else { return secureAccepted(connection) }
        let rules = ProxyHeaderRules(handshakeTimeout: configuration.proxyHeaderTimeout)
        secure(connection, by: rules, isOwn: false) {
            ProxyHeaderReader(behind: layers.subtracting(.proxied))
        }
    }

    /// Continues behind the header, with the bytes that came with it.
    func headerRead(
        _ connection: ConnectionReference, _ header: ProxyHeader, behind layers: StreamLayers,
        _ rest: UnsafeRawBufferPointer
    ) {
        guard let details = connection.details?.takeUnretainedValue() else { return }
        details.filter = nil
        connection.flags.remove(.filtered)
        details.isProxied = true
        if let client = header.client {
            details.extras.proxyAddress = details.remoteAddress
            details.remoteAddress = client
            details.localAddress = header.server
            guard countHost(client, of: details) else {
                connection.flags.insert(.aborting)
                return beginClosing(connection)
            }
        }
        connection.lastReceived = now
        details.openedAt = now
        if layers.contains(.secured) {
            secureAccepted(connection)
            if !rest.isEmpty { receivedSealed(connection, rest) }
        } else {
            opened(connection)
            // Its `onOpen` may have begun an upgrade, for which these bytes are.
            if !rest.isEmpty { receivedSlow(connection, rest) }
        }
        if case .draining = phase { drainDeadline = now }
    }

    /// Whether a connection has ended that a proxy made to check the server: without a byte, or
    /// without one behind its header.
    func isCheck(_ connection: ConnectionReference, _ state: FilterState) -> Bool {
        guard !state.isOwn, state.filter == nil, !state.isQueued else { return false }
        return !state.provider.takesTurns
            || connection.details?.takeUnretainedValue().isProxied == true
    }

    /// Counts the client's host, which was not known at the accept. False if it has its share.
    private func countHost(_ client: SocketAddress, of details: ConnectionDetails) -> Bool {
        guard configuration.countsHosts, let host = client.host else { return true }
        guard owner.hostConnected(host) else {
            counters.hostRefusals.add()
            return false
        }
        details.isHostCounted = true
        return true
    }

    /// The address of the proxy that a connection came from; nil without one.
    package func proxyAddress(of connection: ConnectionReference) -> SocketAddress? {
        guard let details = connection.details?.takeUnretainedValue(), details.isProxied else {
            return nil
        }
        return details.proxyAddress ?? details.remoteAddress
    }
}

/// Headers cost no computation, so their connections wait for no turn.
private struct ProxyHeaderRules: FilterProvider {
    let handshakeTimeout: Nanoseconds
    var handshakesAtOnce: Int { .max }
    var workers: WorkerPool? { nil }
    var takesTurns: Bool { false }
}

/// Reads a header in any number of parts, and takes no byte behind it.
private final class ProxyHeaderReader: StreamFilter {
    private var header: [UInt8] = []
    private let behind: StreamLayers

    init(behind: StreamLayers) { self.behind = behind }

    func start(_ wire: WireOutput) {}

    func open(
        _ sealed: UnsafeRawBufferPointer, into plain: UnsafeMutableRawBufferPointer,
        _ wire: WireOutput
    ) -> Opened {
        let known = header.count
        header.append(contentsOf: sealed.prefix(ProxyHeader.longest - known))
        var opened = Opened()
        switch header.withUnsafeBytes(ProxyHeader.parse) {
        case .incomplete: opened.taken = sealed.count
        case .invalid(let error):
            opened.taken = sealed.count
            opened.event = .failed(error)
        case .header(let header, let count):
            opened.taken = count - known
            opened.event = .proxied(header, behind: behind)
        }
        return opened
    }

    // Not called: nothing is sealed before the header, and behind it this filter is gone.
    func seal(_ plain: UnsafeRawBufferPointer, _ wire: WireOutput) -> Sealed { .later }
    func sealEnd(_ wire: WireOutput) -> Sealed { .later }
    func cutOff() -> (any Error)? { nil }
}
