import MillraceEventLoop

/// A server of the simulated network to which loops connect, without a loop of its own. A script
/// plays its part.
package final class SimulatedUpstream {
    package enum Behaviour: Sendable { case accepts, refuses, neverAnswers }

    package let address: SocketAddress
    package var behaviour = Behaviour.accepts
    /// Runs an action when the result of a connect is due; nil: at once.
    package var later: ((_ action: @escaping () -> Void) -> Void)?
    /// Called with the upstream's end of each stream.
    package var onConnect: ((Peer) -> Void)?
    /// The number of connects, of whichever result.
    package private(set) var attempts = 0

    init(address: SocketAddress) { self.address = address }

    func noteAttempt() { attempts += 1 }

    func connected(_ peer: Peer) { onConnect?(peer) }
}

extension SimulatedNetwork {
    /// Returns the upstream of this address, and makes it first if there is none.
    package func upstream(at address: SocketAddress) -> SimulatedUpstream {
        if let upstream = upstreams[address] { return upstream }
        let upstream = SimulatedUpstream(address: address)
        upstreams[address] = upstream
        return upstream
    }
}

extension SocketAddress {
    /// The same host with the port of another address; nil if they are of different families.
    func sharingPort(of other: SocketAddress) -> SocketAddress? {
        switch (self, other) {
        case (.v4(let bytes, _), .v4(_, let port)): .v4(bytes, port: port)
        case (.v6(let bytes, _, let scope), .v6(_, let port, _)):
            .v6(bytes, port: port, scope: scope)
        default: nil
        }
    }
}
