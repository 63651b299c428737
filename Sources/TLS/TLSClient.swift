internal import CMillraceTLS
package import MillraceEventLoop
public import NetAPI

/// TLS of the connections that are made to `tls://` addresses.
///
/// One object may serve several clients and servers.
public final class TLSClient: Sendable {
    /// The settings of the connections.
    public struct Settings: Sendable {
        /// The certificates that the server's must lead to.
        public var trust = TLSTrust.system
        /// Verifies that the certificate is for the server's name, or without `?name=` for its
        /// address. Without it, the owner of any trusted certificate can pass for the server.
        public var verifiesName = true
        /// Our own certificate, for servers that ask for one.
        public var identity: TLSIdentity?
        /// The oldest version to accept.
        public var minimumVersion = TLSVersion.v12
        /// The ciphers of TLS 1.2, in the form of `openssl ciphers`; nil: the library's.
        public var cipherList: String?
        /// The suites of TLS 1.3, separated by colons; nil: the library's.
        public var cipherSuites: String?
        /// The groups for the exchange of keys, separated by colons; nil: the library's.
        public var groups: String?
        /// The protocols that the handler speaks (ALPN), the preferred one first.
        public var applicationProtocols: [String] = []
        /// The sessions that each loop keeps to resume, by name and address: 0 or more.
        public var sessionsKept = 256
        /// The longest time from the connected socket to the end of the handshake. The time of the
        /// connect itself bounds both.
        public var handshakeTimeout: Duration = .seconds(10)
        /// The number of handshakes that a loop has under way at once; others wait.
        public var handshakesAtOnce = 256
        /// The threads that compute handshakes; with 0 the loops do.
        public var handshakeThreads = 0
        /// Keeps the library's buffers of an idle connection, about 11 KiB.
        public var keepsBuffers = false
        /// Takes the end of a connection without close_notify for the end of the stream.
        public var acceptsUncleanEnd = false
        /// A file for the secrets of each connection, for tools that read recorded traffic.
        public var keyLog: TLSKeyLog?

        public init() {}
    }

    let settings: Settings
    private let handshakes: HandshakeRules
    private let loops = Monitor<[Int: ClientContext]>([:])

    /// Throws `.invalidOption` with the setting, or `.insecure`.
    public init(settings: Settings = Settings()) throws(NetError) {
        self.settings = settings
        handshakes = try HandshakeRules(settings)
        try NetError.check(settings.sessionsKept, 0...Int.max, "sessionsKept")
        // Shows a wrong setting now.
        _ = try ClientContext(settings, loop: 0)
    }

    /// Creates it with the certificates to trust, and the other settings as they are.
    public convenience init(trust: TLSTrust) throws(NetError) {
        var settings = Settings()
        settings.trust = trust
        try self.init(settings: settings)
    }

    deinit { handshakes.pool?.stop() }
}

extension TLSClient: ConnectingFilters {
    package func connecting(to peer: FilterPeer, on loop: Int) throws -> any StreamFilter {
        let context = try context(of: loop)
        guard let tls = mr_tls_new(context.context.pointer, false) else {
            throw NetError.fromLibrary("a connection")
        }
        let rules = TLSFilter.Rules(
            isServer: false, acceptsUncleanEnd: settings.acceptsUncleanEnd,
            usesThreads: handshakes.pool != nil, verifies: settings.trust.verifies)
        // Owns the object from here on.
        let filter = TLSFilter(tls, rules, peer: peer, contexts: context)
        try name(peer, tls)
        context.resume(peer, tls)
        return filter
    }

    /// Returns the context of a loop, made when it is first needed.
    private func context(of loop: Int) throws(NetError) -> ClientContext {
        if let known = loops.withLock({ $0[loop] }) { return known }
        // Outside the lock, since it takes milliseconds.
        let made = try ClientContext(settings, loop: loop)
        return loops.withLock { loops in
            let context = loops[loop] ?? made
            loops[loop] = context
            return context
        }
    }

    /// Sets the name or the address that the server's certificate must have.
    private func name(_ peer: FilterPeer, _ tls: OpaquePointer) throws(NetError) {
        let named = peer.name.flatMap { SocketAddress(host: $0, port: 0) }
        let address = (named ?? peer.address).certificateBytes
        if let name = peer.name, named == nil {
            guard mr_tls_set_peer(tls, name, nil, 0, settings.verifiesName) else {
                throw .fromLibrary("the name \(name)")
            }
            return
        }
        guard settings.verifiesName else { return }
        guard !address.isEmpty else {
            throw NetError(
                insecure: "a Unix address is no name that a certificate can have",
                remedy: "give the server's name, behind ?name= or in startTLS")
        }
        guard mr_tls_set_peer(tls, nil, address, address.count, true) else {
            throw .fromLibrary("the address")
        }
    }

    package var handshakeTimeout: Nanoseconds { handshakes.timeout }
    package var handshakesAtOnce: Int { handshakes.atOnce }
    package var workers: WorkerPool? { handshakes.pool }
}

extension SocketAddress {
    /// The bytes in network order, as a certificate has them; empty for Unix.
    fileprivate var certificateBytes: [UInt8] {
        switch unmapped {
        case .v4(let bytes, _): withUnsafeBytes(of: bytes.word) { Array($0) }
        case .v6(let bytes, _, _):
            withUnsafeBytes(of: bytes.high) { Array($0) }
                + withUnsafeBytes(of: bytes.low) { Array($0) }
        case .unix: []
        }
    }
}

/// A loop's context for connections, and the sessions to resume.
final class ClientContext: Sendable {
    let context: TLSContext
    private let mostSessions: Int
    private let sessions = Monitor<[FilterPeer: Session]>([:])

    init(_ settings: TLSClient.Settings, loop: Int) throws(NetError) {
        context = try TLSContext(isServer: false, library: try TLSLibrary.of(loop: loop))
        mostSessions = settings.sessionsKept
        try context.apply(settings)
        if let identity = settings.identity { try context.use(identity) }
        try context.set(protocols: settings.applicationProtocols, refuses: false)
        try context.trust(settings.trust)
        mr_tls_verify(context.pointer, settings.trust.verifies, false, true)
        guard mostSessions > 0 else { return }
        mr_tls_set_keeper(
            context.pointer,
            { object, connection, session in
                let context = Unmanaged<ClientContext>.fromOpaque(object).takeUnretainedValue()
                let filter = Unmanaged<TLSFilter>.fromOpaque(connection).takeUnretainedValue()
                return context.keep(session, of: filter.peer)
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    /// Keeps the newest session of a peer. True if it is kept, and so owned.
    private func keep(_ session: OpaquePointer, of peer: FilterPeer?) -> Bool {
        guard let peer else { return false }
        let old = sessions.withLock { sessions -> Session? in
            // Any other makes room: the order of their use would have to be kept up for each.
            let isFull = sessions.count >= mostSessions && sessions[peer] == nil
            let gone = isFull ? sessions.popFirst()?.value : nil
            return sessions.updateValue(Session(session), forKey: peer) ?? gone
        }
        _ = old
        return true
    }

    /// Resumes the peer's session, if one is kept. One of TLS 1.3 is used once, so that two
    /// connections have nothing in common for an observer (RFC 8446, C.4). With TLS 1.2 the server
    /// gives no other one.
    func resume(_ peer: FilterPeer, _ tls: OpaquePointer) {
        let dropped = sessions.withLock { sessions -> Session? in
            guard let session = sessions[peer] else { return nil }
            let isResumed = mr_tls_resume(tls, session.pointer)
            return isResumed && session.isReusable ? nil : sessions.removeValue(forKey: peer)
        }
        // Freed behind the lock.
        _ = dropped
    }

    /// Drops the session of a peer whose handshake was not finished. Some drop a connection for its
    /// session, and would do so each time.
    func forget(_ peer: FilterPeer) {
        let dropped = sessions.withLock { $0.removeValue(forKey: peer) }
        _ = dropped
    }
}

/// A session of the library.
// Unchecked: owned by one place at a time.
private final class Session: @unchecked Sendable {
    let pointer: OpaquePointer
    init(_ pointer: OpaquePointer) { self.pointer = pointer }
    deinit { SSL_SESSION_free(pointer) }

    var isReusable: Bool {
        SSL_SESSION_get_protocol_version(pointer) < TLSVersion.v13.number
    }
}

extension TLSClient.Settings: TLSSettings {}
