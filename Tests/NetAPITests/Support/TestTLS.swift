/// TLS for the suites that run over it: with `MILLRACE_TEST_TLS=1`, the default address of a test's
/// server is `tls://`, and its clients and handlers need not know.
import Glibc
import MillraceTestSupport
import NetAPI
import NetTLS

enum TestTLS {
    static let isOn = getenv("MILLRACE_TEST_TLS") != nil

    static let server = value { try TLSServer(identity) }
    static let client = value { try TLSClient(trust: .certificates(certificate.chain)) }

    static let identity = value {
        try TLSIdentity(chain: certificate.chain, key: certificate.key)
    }
    static let certificate = value { try TestCertificate() }

    private static func value<Value>(_ make: () throws -> Value) -> Value {
        do { return try make() } catch { preconditionFailure("\(error)") }
    }
}

/// A certificate that signs itself, made by the openssl program.
struct TestCertificate: Sendable {
    let chain: String
    let key: String

    init(
        names: String = "DNS:localhost,IP:127.0.0.1,IP:::1", days: Int = 2, kind: [String] = ec
    ) throws {
        let (chain, key) = (TemporaryPath.make("pem"), TemporaryPath.make("pem"))
        defer {
            unlink(chain)
            unlink(key)
        }
        let words =
            [
                "/usr/bin/openssl", "req", "-x509", "-nodes", "-newkey",
            ] + kind + [
                "-keyout", key, "-out", chain, "-days", String(days), "-subj", "/CN=millrace",
                "-addext", "subjectAltName=\(names)",
            ]
        let process = try ChildProcess(words)
        guard try process.wait() == .exited(0), let chainText = readText(chain),
            let keyText = readText(key)
        else { throw SystemFailure("openssl: \(process.readErrors())", 0) }
        self.chain = chainText
        self.key = keyText
    }

    static let ec = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    static let rsa = ["rsa:2048"]
}
