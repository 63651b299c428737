internal import CMillraceTLS
internal import Glibc
public import NetAPI

/// A certificate with its chain and its private key.
public struct TLSIdentity: Sendable {
    /// The chain as PEM text, the own certificate first.
    let chain: String
    let key: String
    /// The host names that the certificate is for, wildcards included.
    public let names: [String]
    /// A response of OCSP in DER about the certificate, for clients that ask for one.
    public var stapledResponse: [UInt8]?

    /// The parts by which identities differ. The key belongs to the chain.
    struct Content: Hashable {
        let chain: String
        let stapledResponse: [UInt8]?
    }

    var content: Content { Content(chain: chain, stapledResponse: stapledResponse) }

    /// Creates an identity from PEM texts: the chain with the own certificate first, and the key
    /// without a password. Throws `.insecure` if they are no certificate and key, or do not belong
    /// together.
    public init(chain: String, key: String) throws(NetError) {
        self.chain = chain
        self.key = key
        names = try Self.names(of: chain)
        // The use shows whether the two belong together.
        _ = try TLSContext(isServer: true, library: try TLSLibrary.of(loop: 0)).use(self)
    }

    /// Reads an identity from files of PEM text. Throws `.insecure`, or `.system` with the path.
    public static func files(chain: String, key: String) throws(NetError) -> TLSIdentity {
        let texts = (chain: try readText(chain), key: try readText(key))
        do throws(NetError) {
            return try TLSIdentity(chain: texts.chain, key: texts.key)
        } catch {
            throw NetError(insecure: "\(chain), \(key): \(error.cause)", remedy: error.remedy)
        }
    }

    private static func names(of chain: String) throws(NetError) -> [String] {
        var names: [String] = []
        let isCertificate = withUnsafeMutablePointer(to: &names) { names in
            mr_tls_names(
                chain,
                { object, name, count in
                    let names = object.assumingMemoryBound(to: [String].self)
                    let bytes = UnsafeRawBufferPointer(start: name, count: count)
                    names.pointee.append(String(decoding: bytes, as: UTF8.self).lowercased())
                }, names)
        }
        guard isCertificate else {
            throw NetError(
                insecure: "the chain is no certificate in PEM text",
                remedy: "give the text that begins with -----BEGIN CERTIFICATE-----")
        }
        return names
    }
}

/// The certificates that a peer's chain must lead to.
public struct TLSTrust: Sendable {
    enum Kind: Sendable {
        case system
        case texts([String])
        case any
    }

    let kind: Kind

    /// The certificates that the system trusts.
    public static let system = TLSTrust(kind: .system)
    /// Every certificate of any issuer. For tests, and where the program verifies
    /// `TLSInfo.peerCertificates` itself in `onOpen`.
    public static let anyCertificate = TLSTrust(kind: .any)

    /// The certificates of these PEM texts.
    public static func certificates(_ texts: String...) -> TLSTrust {
        TLSTrust(kind: .texts(texts))
    }

    /// The certificates of these files of PEM text. Throws `.system` with the path.
    public static func files(_ paths: String...) throws(NetError) -> TLSTrust {
        var texts: [String] = []
        for path in paths { texts.append(try readText(path)) }
        return TLSTrust(kind: .texts(texts))
    }
}

/// Reads a small file. Throws `.system` with its path.
func readText(_ path: String) throws(NetError) -> String {
    String(decoding: try readBytes(path), as: UTF8.self)
}

func readBytes(_ path: String) throws(NetError) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw NetError(path: path, errno: errno) }
    defer { close(descriptor) }
    // Far above any chain: a wrong path must not fill the memory.
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 65_536)
    while bytes.count < 16 << 20 {
        let count = read(descriptor, &piece, piece.count)
        if count < 0 && errno == EINTR { continue }
        guard count >= 0 else { throw NetError(path: path, errno: errno) }
        guard count > 0 else { return bytes }
        bytes += piece.prefix(count)
    }
    throw NetError(path: path, errno: EFBIG)
}
