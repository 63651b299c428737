internal import CMillraceTLS
public import NetAPI

/// The result of a connection's handshake.
public struct TLSInfo: Sendable {
    public let version: TLSVersion
    /// The cipher suite, such as `TLS_AES_256_GCM_SHA384`.
    public let cipher: String
    /// The protocol that both sides chose (ALPN); nil if they did not.
    public let applicationProtocol: String?
    /// The host name that the client has asked for (SNI).
    public let serverName: String?
    /// Indicates that a session from before was resumed, which needs no certificates.
    public let isResumed: Bool
    /// The peer's certificates in DER, its own first. A resumed session has the first only.
    public let peerCertificates: [[UInt8]]
    /// Indicates that the peer has a certificate that was verified.
    public let isVerified: Bool

    init(_ tls: OpaquePointer, verifies: Bool) {
        let name = String(cString: mr_tls_version(tls))
        version = name == TLSVersion.v12.description ? .v12 : .v13
        cipher = String(cString: mr_tls_cipher(tls))
        serverName = mr_tls_server_name(tls).map { String(cString: $0) }
        isResumed = mr_tls_is_resumed(tls)
        isVerified = verifies && mr_tls_has_peer(tls) && mr_tls_verified(tls) == 0
        var count: UInt32 = 0
        applicationProtocol = mr_tls_protocol(tls, &count).flatMap { bytes in
            let text = UnsafeBufferPointer(start: bytes, count: Int(count))
            return count == 0 ? nil : String(decoding: text, as: UTF8.self)
        }
        var certificates: [[UInt8]] = []
        withUnsafeMutablePointer(to: &certificates) { certificates in
            mr_tls_peers(
                tls,
                { object, bytes, count in
                    let certificates = object.assumingMemoryBound(to: [[UInt8]].self)
                    let certificate = UnsafeBufferPointer(start: bytes, count: count)
                    certificates.pointee.append(Array(certificate))
                }, certificates)
        }
        peerCertificates = certificates
    }
}

extension Connection {
    /// The result of the handshake, from `onOpen` to `onClose`. Nil for a connection without TLS.
    public var tls: TLSInfo? { (streamFilter as? TLSFilter)?.info }
}
