import CMillraceTLS
import Testing

/// One end of TLS in memory: a peer that a test moves byte by byte, and whose clock the test sets.
final class TLSEnd {
    let tls: OpaquePointer
    // Its callbacks need it.
    private let context: TLSEndContext
    private(set) var plain: [UInt8] = []
    private(set) var isEstablished = false
    private(set) var hasEnded = false
    private(set) var failure: String?
    private var wire: [UInt8] = []

    /// Creates a server's end, or a client's with its first bytes. It may ask for a name, and
    /// resume the last session.
    init(_ context: TLSEndContext, name: String? = nil, resumes: Bool = false) throws {
        self.context = context
        tls = try #require(mr_tls_new(context.pointer, context.isServer))
        mr_tls_set_owner(tls, Unmanaged.passUnretained(context).toOpaque())
        if let name { #expect(mr_tls_set_peer(tls, name, nil, 0, false)) }
        if resumes, let session = context.session { _ = mr_tls_resume(tls, session) }
        if !context.isServer { receive([]) }
    }

    deinit {
        // The library resumes no session of a connection that was cut.
        _ = sealEnd()
        mr_tls_free(tls)
    }

    var isResumed: Bool { mr_tls_is_resumed(tls) }
    /// The name that the client has asked for.
    var askedName: String? { mr_tls_server_name(tls).map { String(cString: $0) } }

    /// Returns the bytes for the other end since the last call.
    func take() -> [UInt8] {
        defer { wire = [] }
        return wire
    }

    func receive(_ bytes: some Sequence<UInt8>) {
        var rest = Array(bytes)[...]
        var room = [UInt8](repeating: 0, count: 65_536)
        while !hasEnded && failure == nil {
            let result = withUnsafeMutablePointer(to: &wire) { wire in
                rest.withUnsafeBytes { rest in
                    mr_tls_open(
                        tls, rest.baseAddress, rest.count, &room, isEstablished ? room.count : 0,
                        append, wire)
                }
            }
            rest = rest.dropFirst(result.taken)
            plain += room.prefix(result.plain)
            switch result.event {
            case mr_tls_established: isEstablished = true
            case mr_tls_ended: hasEnded = true
            case mr_tls_failed: failure = String(cString: mr_tls_reason(tls))
            default: if rest.isEmpty || result.taken + result.plain == 0 { return }
            }
        }
    }

    /// Seals bytes: 1, 0 for later, or -1.
    func seal(_ bytes: [UInt8]) -> Int32 {
        withUnsafeMutablePointer(to: &wire) { mr_tls_seal(tls, bytes, bytes.count, append, $0) }
    }

    func sealEnd() -> Bool { withUnsafeMutablePointer(to: &wire) { mr_tls_end(tls, append, $0) } }

    func updateKeys() -> Bool {
        withUnsafeMutablePointer(to: &wire) { mr_tls_update_keys(tls, append, $0) }
    }

    /// The sizes of the records in bytes of the wire, headers included.
    static func records(_ wire: [UInt8]) -> [Int] {
        var sizes: [Int] = []
        var rest = wire[...]
        while rest.count >= 5 {
            let header = Array(rest.prefix(5))
            sizes.append(5 + Int(header[3]) << 8 + Int(header[4]))
            rest = rest.dropFirst(sizes[sizes.count - 1])
        }
        return sizes
    }
}

private let append: mr_tls_output = { object, bytes, count in
    object.assumingMemoryBound(to: [UInt8].self).pointee +=
        UnsafeRawBufferPointer(start: bytes, count: count)
}

/// The settings of ends, with the certificate of the tests, and a client's last session.
final class TLSEndContext {
    let pointer: OpaquePointer
    let isServer: Bool
    private(set) var session: OpaquePointer?
    private let tickets: OpaquePointer?

    // Not Sendable, but never written: OpenSSL's object has locks of its own. Never freed, since
    // threads that have used one keep state of it.
    nonisolated(unsafe) private static let library = OSSL_LIB_CTX_new()

    /// The number of TLS 1.2, and of 1.3.
    static let versions: [Int32] = [0x0303, 0x0304]

    init(isServer: Bool, version: Int32) throws {
        let library = try #require(Self.library)
        pointer = try #require(mr_tls_context_new(isServer, library))
        self.isServer = isServer
        tickets = isServer ? mr_tls_tickets_new(nil, 0, 43_200) : nil
        try #require(mr_tls_set_minimum(pointer, 0x0303))
        _ = set(Control.mostVersion, Int(version))
        try #require(mr_tls_use(pointer, library, Certificate.chain, Certificate.key) == 0)
        try #require(mr_tls_trust(pointer, library, Certificate.chain, isServer) == 1)
        mr_tls_verify(pointer, !isServer, false, true)
        if let tickets { mr_tls_set_tickets(pointer, tickets, 1) }
        try #require(mr_tls_set_session_id(pointer, [1], 1))
        mr_tls_set_keeper(
            pointer,
            { object, _, session in
                let context = Unmanaged<TLSEndContext>.fromOpaque(object).takeUnretainedValue()
                context.keep(session)
                return true
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    deinit {
        keep(nil)
        SSL_CTX_free(pointer)
        tickets.map { mr_tls_tickets_free($0) }
    }

    private func keep(_ session: OpaquePointer?) {
        self.session.map { SSL_SESSION_free($0) }
        self.session = session
    }

    /// Asks clients for a certificate.
    func requireCertificates() { mr_tls_verify(pointer, true, true, true) }

    /// Sets the time for the dates of certificates and of sessions.
    func setTime(_ time: Int) { X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(pointer), time) }

    /// Macros of the library, which Swift has no names for.
    enum Control {
        static let mostFragment: Int32 = 52
        static let mostVersion: Int32 = 124
        static let noRenegotiation: UInt64 = 1 << 30
    }

    func set(_ control: Int32, _ value: Int) -> Int { SSL_CTX_ctrl(pointer, control, value, nil) }
}
