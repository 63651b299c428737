internal import CMillraceTLS
internal import MillraceEventLoop
internal import NetAPI

/// A library context, which the connections of loops with the same number share. Two loops of a
/// server share no lock of the library.
///
/// Never freed: each thread that has used one keeps state that it frees, with the context, at the
/// thread's end. Threads of a pool may end last.
// Unchecked: the library's object may be used from several threads.
final class TLSLibrary: @unchecked Sendable {
    let pointer: OpaquePointer

    private static let made = Monitor<[Int: TLSLibrary]>([:])

    private init(_ pointer: OpaquePointer) { self.pointer = pointer }

    static func of(loop: Int) throws(NetError) -> TLSLibrary {
        let library = made.withLock { made -> TLSLibrary? in
            if let library = made[loop] { return library }
            let library = OSSL_LIB_CTX_new().map { TLSLibrary($0) }
            made[loop] = library
            return library
        }
        guard let library else { throw .fromLibrary("a library context") }
        return library
    }
}

/// The settings and certificates of a loop's connections, in the library's form.
// Unchecked: after it is set up, the library's object may be used from several threads.
final class TLSContext: @unchecked Sendable {
    let pointer: OpaquePointer
    let library: TLSLibrary
    private let isServer: Bool

    init(isServer: Bool, library: TLSLibrary) throws(NetError) {
        guard let pointer = mr_tls_context_new(isServer, library.pointer) else {
            throw .fromLibrary("a context")
        }
        self.pointer = pointer
        self.library = library
        self.isServer = isServer
    }

    deinit { SSL_CTX_free(pointer) }

    func use(_ identity: TLSIdentity) throws(NetError) {
        switch mr_tls_use(pointer, library.pointer, identity.chain, identity.key) {
        case 0: try staple(identity.stapledResponse)
        case 1: throw .fromLibrary("the chain")
        case 2:
            throw .fromLibrary("the private key", "give it as PEM text without a password")
        default:
            throw .fromLibrary(
                "the private key is not the certificate's", "give the two that belong together")
        }
    }

    private func staple(_ response: [UInt8]?) throws(NetError) {
        guard let response, !mr_tls_set_staple(pointer, response, response.count) else { return }
        throw .fromLibrary("stapledResponse")
    }

    func apply(_ common: some TLSSettings) throws(NetError) {
        guard mr_tls_set_minimum(pointer, common.minimumVersion.number) else {
            throw .fromLibrary("minimumVersion")
        }
        if common.keepsBuffers { mr_tls_set_keeps_buffers(pointer) }
        let ciphers = common.cipherList ?? (isServer ? Self.ciphers : nil)
        if let ciphers, SSL_CTX_set_cipher_list(pointer, ciphers) != 1 {
            throw .invalidSetting("cipherList", ciphers, "give names that `openssl ciphers` knows")
        }
        if let list = common.cipherSuites, SSL_CTX_set_ciphersuites(pointer, list) != 1 {
            throw .invalidSetting(
                "cipherSuites", list, "give suites of TLS 1.3, such as TLS_AES_256_GCM_SHA384")
        }
        try apply(groups: common.groups)
        if let log = common.keyLog, !mr_tls_set_key_log(pointer, log.descriptor) {
            throw .fromLibrary("keyLog")
        }
    }

    private func apply(groups: String?) throws(NetError) {
        if let groups {
            guard mr_tls_set_groups(pointer, groups) else {
                throw .invalidSetting("groups", groups, "give names such as X25519:P-256")
            }
        } else if isServer {
            // Older libraries do not know the first name, and an unknown one refuses the list.
            _ = Self.curves.contains { mr_tls_set_groups(pointer, $0) }
        }
    }

    /// Those of TLS 1.2 with keys of the connection's own and without CBC. The library's list has
    /// others, with which a stolen key opens recorded traffic.
    private static let ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20"

    /// The library's own list has the groups of finite fields too. A client that chooses ffdhe8192
    /// costs the loop 160 ms, and itself next to nothing.
    private static let curves = [
        "X25519MLKEM768:X25519:P-256:X448:P-521:P-384", "X25519:P-256:X448:P-521:P-384",
        "P-256:P-521:P-384",
    ]

    /// Sets the protocols, in the order of preference.
    func set(protocols: [String], refuses: Bool) throws(NetError) {
        guard !protocols.isEmpty else { return }
        var wire: [UInt8] = []
        for name in protocols {
            guard (1...255).contains(name.utf8.count) else {
                throw .invalidSetting(
                    "applicationProtocols", name, "give names of 1 to 255 bytes, such as h2")
            }
            wire.append(UInt8(name.utf8.count))
            wire += name.utf8
        }
        guard mr_tls_set_protocols(pointer, wire, wire.count, isServer, refuses) else {
            throw .fromLibrary("applicationProtocols")
        }
    }

    /// Sets the certificates that the peer's must lead to.
    func trust(_ trust: TLSTrust) throws(NetError) {
        switch trust.kind {
        case .any: break
        case .system:
            guard mr_tls_trust_system(pointer) else { throw .fromLibrary("trust") }
        case .texts(let texts):
            for text in texts
            where mr_tls_trust(pointer, library.pointer, text, isServer) == 0 {
                throw NetError(
                    insecure: "trust: a text holds no certificate",
                    remedy: "give PEM text that begins with -----BEGIN CERTIFICATE-----")
            }
        }
    }
}

/// The settings that servers and clients have in common.
protocol TLSSettings {
    var minimumVersion: TLSVersion { get }
    var cipherList: String? { get }
    var cipherSuites: String? { get }
    var groups: String? { get }
    var keepsBuffers: Bool { get }
    var keyLog: TLSKeyLog? { get }
    var handshakeTimeout: Duration { get }
    var handshakesAtOnce: Int { get }
    var handshakeThreads: Int { get }
}

/// The rules for handshakes, checked.
struct HandshakeRules: Sendable {
    let timeout: Nanoseconds
    let atOnce: Int
    let pool: WorkerPool?

    init(_ settings: some TLSSettings) throws(NetError) {
        guard settings.handshakeTimeout > .zero else {
            throw .invalidSetting(
                "handshakeTimeout", settings.handshakeTimeout, "give a time above zero")
        }
        timeout = Nanoseconds(settings.handshakeTimeout)
        try NetError.check(settings.handshakesAtOnce, 1...Int.max, "handshakesAtOnce")
        try NetError.check(settings.handshakeThreads, 0...1024, "handshakeThreads")
        atOnce = settings.handshakesAtOnce
        pool =
            settings.handshakeThreads == 0
            ? nil : WorkerPool(threads: settings.handshakeThreads, queued: 4096)
    }
}

/// A version of the protocol.
public struct TLSVersion: Sendable, Hashable, CustomStringConvertible {
    let number: Int32
    public let description: String

    public static let v12 = TLSVersion(number: 0x0303, description: "TLSv1.2")
    public static let v13 = TLSVersion(number: 0x0304, description: "TLSv1.3")
}

extension NetError {
    static func fromLibrary(_ subject: String, _ remedy: String = "") -> NetError {
        var buffer = [CChar](repeating: 0, count: 256)
        let reason = mr_tls_error(&buffer, buffer.count).map { String(cString: $0) }
        return NetError(insecure: "\(subject): \(reason ?? "out of memory")", remedy: remedy)
    }

    static func invalidSetting(_ name: String, _ value: Any, _ remedy: String) -> NetError {
        NetError(setting: name, value, remedy: remedy)
    }

    /// Throws `.invalidOption` for a value outside of the range.
    static func check(
        _ value: Int, _ range: ClosedRange<Int>, _ name: String
    ) throws(NetError) {
        guard range.contains(value) else {
            throw .invalidSetting(
                name, value, "give \(range.lowerBound) to \(range.upperBound)")
        }
    }
}
