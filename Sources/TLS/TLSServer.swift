internal import CMillraceTLS
package import MillraceEventLoop
public import NetAPI

/// TLS of the addresses that a server listens on with `tls://`.
///
/// One object may serve several servers. All its methods may be called from any thread.
public final class TLSServer: Sendable {
    /// The settings of the accepted connections.
    public struct Settings: Sendable {
        /// The oldest version to accept.
        public var minimumVersion = TLSVersion.v12
        /// The ciphers of TLS 1.2, in the form of `openssl ciphers`; nil: ECDHE with AES-GCM or
        /// ChaCha20.
        public var cipherList: String?
        /// The suites of TLS 1.3, separated by colons; nil: the library's.
        public var cipherSuites: String?
        /// The groups for the exchange of keys, separated by colons; nil: all curves that the
        /// library has by default, and no finite field, whose handshakes may cost 160 ms.
        public var groups: String?
        /// The protocols that the handler speaks (ALPN), the preferred one first.
        public var applicationProtocols: [String] = []
        /// The result if a client offers protocols, and none of ours.
        public var withoutCommonProtocol = WithoutCommonProtocol.refuse
        /// The certificates of clients.
        public var clientCertificates = ClientCertificates.none
        /// The tickets for resumed sessions.
        public var tickets = TLSTickets.automatic
        /// The number of tickets that a client gets in a full handshake: 0 to 8.
        public var ticketsPerHandshake = 1
        /// The longest time from the accept to the end of the handshake. Input does not extend it.
        public var handshakeTimeout: Duration = .seconds(10)
        /// The number of handshakes that a loop has under way at once; others wait. A handshake
        /// counts from its client's first bytes.
        public var handshakesAtOnce = 256
        /// The threads that compute handshakes. With 0 the loops do, each handshake holding its
        /// loop for about half a millisecond. With threads a handshake costs a little more, and the
        /// loop's other connections do not wait for it.
        public var handshakeThreads = 0
        /// Keeps the library's buffers of an idle connection, about 11 KiB. A request then needs
        /// about a twelfth fewer instructions. For few, busy connections.
        public var keepsBuffers = false
        /// The size of the records.
        public var recordSize = RecordSize.full
        /// Takes the end of a connection without close_notify for the end of the stream. Only for
        /// protocols whose messages tell their own ends: otherwise an attacker on the way may cut a
        /// stream, and it looks whole.
        public var acceptsUncleanEnd = false
        /// A file for the secrets of each connection, for tools that read recorded traffic.
        public var keyLog: TLSKeyLog?
        public init() {}
    }

    public enum WithoutCommonProtocol: Sendable {
        /// The handshake fails, as RFC 7301 asks for.
        case refuse
        /// The connection has no application protocol.
        case goOn
    }

    public enum ClientCertificates: Sendable {
        /// Not asked for.
        case none
        /// Asked for and verified, but a client may have none.
        case optional(TLSTrust)
        /// A client without a verified certificate is refused.
        case required(TLSTrust)
    }

    public enum RecordSize: Sendable {
        /// Records of 16 KiB: the lowest cost.
        case full
        /// Records of 1,400 bytes for the first 64 KiB, so that a client has whole records, and can
        /// begin to show them, after each packet. Then of 16 KiB.
        case startingSmall
    }

    let settings: Settings
    private let handshakes: HandshakeRules
    private let maker: ServerContexts.Maker
    private let state: Monitor<State>

    private struct State {
        var identities: [TLSIdentity]
        /// The number of replacements.
        var generation = 0
        var loops: [Int: ServerContexts]
    }

    /// Creates it with at least one identity. The first is for clients that ask for no known name,
    /// the others for those that ask for one of theirs. `select` is asked for names that none of
    /// them has; it runs in handshakes, on any thread. Each loop keeps its answers until `replace`:
    /// 4,096 names and 1,024 identities at most.
    ///
    /// Throws `.invalidOption` with the setting, or `.insecure`.
    public convenience init(
        _ identities: TLSIdentity..., settings: Settings = Settings(),
        select: (@Sendable (_ name: String) -> TLSIdentity?)? = nil
    ) throws(NetError) {
        try self.init(identities, settings: settings, select: select)
    }

    /// Creates it like the other initializer, for a list made at run time.
    public init(
        _ identities: [TLSIdentity], settings: Settings = Settings(),
        select: (@Sendable (_ name: String) -> TLSIdentity?)? = nil
    ) throws(NetError) {
        self.settings = settings
        handshakes = try HandshakeRules(settings)
        try NetError.check(settings.ticketsPerHandshake, 0...8, "ticketsPerHandshake")
        maker = ServerContexts.Maker(
            settings: settings, tickets: try TicketKeys(settings.tickets), select: select)
        // Shows a wrong setting now.
        let first = try ServerContexts(identities, maker, loop: 0)
        state = Monitor(State(identities: identities, loops: [0: first]))
    }

    deinit { handshakes.pool?.stop() }

    /// Uses other identities for the handshakes that begin from now on. Connections and tickets go
    /// on. Throws `.insecure`; then the old ones stay.
    ///
    /// Makes the contexts of all loops on this thread, which takes about a millisecond for each
    /// identity and loop. No loop waits for it.
    public func replace(_ identities: [TLSIdentity]) throws(NetError) {
        var made: [Int: ServerContexts] = [:]
        for loop in state.withLock({ $0.loops.keys }) {
            made[loop] = try ServerContexts(identities, maker, loop: loop)
        }
        let new = made
        let old = state.withLock { state in
            defer {
                state.identities = identities
                state.generation += 1
                state.loops = new
            }
            return state.loops
        }
        // Freed behind the lock.
        _ = old
    }
}

extension TLSServer.Settings: TLSSettings {
    /// The verification of clients, in a form to compare.
    var verification: String {
        switch clientCertificates {
        case .none: "none"
        case .optional(let trust): "optional\n\(trust.kind)"
        case .required(let trust): "required\n\(trust.kind)"
        }
    }

    fileprivate var verifies: Bool {
        switch clientCertificates {
        case .none: false
        case .optional(let trust), .required(let trust): trust.verifies
        }
    }
}

extension TLSTrust {
    var verifies: Bool {
        if case .any = kind { false } else { true }
    }
}

extension TLSServer: AcceptingFilters {
    package func accepting(on loop: Int) -> any StreamFilter {
        let rules = TLSFilter.Rules(
            isServer: true, startsSmall: settings.recordSize == .startingSmall,
            acceptsUncleanEnd: settings.acceptsUncleanEnd, usesThreads: handshakes.pool != nil,
            verifies: settings.verifies)
        guard let contexts = contexts(of: loop), let tls = mr_tls_new(contexts.first.pointer, true)
        else { return RefusingFilter(error: .fromLibrary("a connection")) }
        return TLSFilter(tls, rules, contexts: contexts)
    }

    package var handshakeTimeout: Nanoseconds { handshakes.timeout }
    package var handshakesAtOnce: Int { handshakes.atOnce }
    package var workers: WorkerPool? { handshakes.pool }

    /// Returns the contexts of a loop, made when they are first needed.
    private func contexts(of loop: Int) -> ServerContexts? {
        let before = state.withLock { $0 }
        if let known = before.loops[loop] { return known }
        // Outside the lock, since it takes a millisecond.
        guard let made = try? ServerContexts(before.identities, maker, loop: loop) else {
            return nil
        }
        state.withLock { state in
            // Identities that were replaced meanwhile serve this connection only.
            if state.generation == before.generation { state.loops[loop] = made }
        }
        return made
    }
}

extension Options {
    /// TLS of the server's `tls://` addresses.
    public var tls: TLSServer? {
        get { acceptingFilters as? TLSServer }
        set { acceptingFilters = newValue }
    }

    /// TLS of connections made to `tls://` addresses.
    public var tlsClient: TLSClient? {
        get { connectingFilters as? TLSClient }
        set { connectingFilters = newValue }
    }
}

/// Fails at its first byte: no memory was left for a connection.
private final class RefusingFilter: StreamFilter {
    private let error: NetError

    init(error: NetError) { self.error = error }

    func start(_ wire: WireOutput) {}
    func open(
        _ sealed: UnsafeRawBufferPointer, into plain: UnsafeMutableRawBufferPointer,
        _ wire: WireOutput
    ) -> Opened {
        var opened = Opened()
        opened.taken = sealed.count
        opened.event = .failed(error)
        return opened
    }
    func seal(_ plain: UnsafeRawBufferPointer, _ wire: WireOutput) -> Sealed { .failed(error) }
    func sealEnd(_ wire: WireOutput) -> Sealed { .done }
    func cutOff() -> (any Error)? { error }
}
