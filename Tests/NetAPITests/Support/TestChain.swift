/// A chain of certificates, each signed by the one before, made by the openssl program.
import Glibc
import MillraceTestSupport

struct TestChain: Sendable {
    /// The one at the beginning, to trust.
    let root: String
    /// The one at the end and its issuers up to the root, as a peer sends them.
    let chain: String
    let key: String

    /// Makes a chain with this many certificates between its two ends.
    init(between count: Int) throws {
        var paths: [String] = []
        defer { for path in paths { unlink(path) } }
        var texts: [String] = []
        var (issuer, issuerKey) = ("", "")
        for number in 0...count + 1 {
            let (path, keyPath) = (TemporaryPath.make("pem"), TemporaryPath.make("pem"))
            paths += [path, keyPath]
            let words =
                ["/usr/bin/openssl", "req", "-x509", "-nodes", "-newkey"] + TestCertificate.ec
                + ["-keyout", keyPath, "-out", path, "-days", "2", "-subj", "/CN=number \(number)"]
                + (number == 0 ? [] : ["-CA", issuer, "-CAkey", issuerKey])
            let process = try ChildProcess(words)
            guard try process.wait() == .exited(0), let text = readText(path) else {
                throw SystemFailure("openssl: \(process.readErrors())", 0)
            }
            texts.append(text)
            (issuer, issuerKey) = (path, keyPath)
        }
        root = texts[0]
        chain = texts[1...].reversed().joined()
        key = readText(issuerKey) ?? ""
    }
}
