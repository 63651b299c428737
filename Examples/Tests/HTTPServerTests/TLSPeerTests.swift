/// TLS programs of other authors against the servers.
import TestSupport
import Testing

@Suite struct TLSPeerTests {
    /// Runs the peers that every machine with the packages of `Scripts/setup` has, on every form.
    /// `make tls-peers` runs the others too.
    @Test("OpenSSL, Python and curl find each behaviour of the servers' TLS that they look for")
    func peersAgree() throws {
        let parts = ServerUnderTest.path.split(separator: "/").dropLast()
        let result = try ChildProcess(
            [
                "\(PackageFiles.root)/Scripts/tls-peers", "--peers", "openssl,python,curl",
                "--programs", "/" + parts.joined(separator: "/"),
            ], joinsErrors: true
        ).finish(within: .seconds(60))
        let report = String(decoding: result.output, as: UTF8.self)
        #expect(result.end == .exited(0), "\(report)")
        #expect(report.contains(" 0 failed, 0 absent"), "\(report)")
    }
}
