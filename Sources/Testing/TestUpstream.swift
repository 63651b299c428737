internal import MillraceEventLoop
internal import MillraceSimulation

/// A server that handlers connect to, played by the test.
public final class TestUpstream {
    /// The answer to a connect.
    public enum Behaviour: Sendable, Hashable {
        /// The connection is made.
        case accepts
        /// The connect fails with ECONNREFUSED.
        case refuses
        /// Nothing comes back, like from a host that is down: the connect runs into its timeout.
        case neverAnswers
    }

    let core: SimulatedUpstream
    // The engine outlives it: the network holds both.
    private unowned let engine: Engine
    private var onConnect: ((TestPeer) -> Void)?
    /// The accepted connections, from the upstream's side, in their order.
    public private(set) var peers: [TestPeer] = []

    init(_ core: SimulatedUpstream, _ engine: Engine) {
        self.core = core
        self.engine = engine
        core.onConnect = { [weak self] in self?.connected($0) }
    }

    /// The answer to the connects from now on.
    public var behaviour: Behaviour {
        get {
            switch core.behaviour {
            case .accepts: .accepts
            case .refuses: .refuses
            case .neverAnswers: .neverAnswers
            }
        }
        set {
            core.behaviour =
                switch newValue {
                case .accepts: .accepts
                case .refuses: .refuses
                case .neverAnswers: .neverAnswers
                }
        }
    }

    /// The time from a connect to its answer; zero at first.
    public var connectTime = Duration.zero {
        didSet {
            let delay = Nanoseconds(connectTime)
            core.later = delay <= 0 ? nil : { [weak engine] in engine?.schedule(after: delay, $0) }
        }
    }

    /// The number of connects so far, with any result.
    public var attempts: Int { core.attempts }

    /// Sets the closure that runs for each new connection, before the handler sees it. It replaces
    /// an earlier one.
    public func onConnect(_ body: @escaping (TestPeer) -> Void) { onConnect = body }

    /// Answers the bytes of each read with the result of `reply`; nil sends nothing. For requests
    /// that may arrive in pieces use `onConnect` and `TestPeer.onReceive`.
    public func answer(_ reply: @escaping (TestBytes) -> TestBytes?) {
        onConnect { peer in
            peer.onReceive { peer, bytes in
                if let answer = reply(bytes) { peer.send(answer) }
            }
        }
    }

    private func connected(_ core: Peer) {
        let peer = TestPeer(core, engine, isUpstream: true)
        peers.append(peer)
        onConnect?(peer)
    }
}
