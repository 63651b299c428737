/// Client programs of other authors against the server.
import Glibc
import TestSupport
import Testing

@Suite struct RealClientTests {
    private func curl(_ server: ServerUnderTest, _ words: [String]) throws -> [UInt8] {
        let result = try ChildProcess(["curl", "-sS", "-m", "10"] + words).finish()
        #expect(result.end == .exited(0), "\(words)")
        return result.output
    }

    @Test("the server returns correct responses to curl", arguments: Form.all)
    func curlIsServed(_ form: Form) throws {
        let server = try ServerUnderTest(form)
        let base = "http://127.0.0.1:\(server.port)"
        let big = ServerUnderTest.bigFile
        #expect(try curl(server, ["\(base)/big"]) == big)
        #expect(try curl(server, ["-r", "100-199", "\(base)/big"]) == Array(big[100...199]))
        let file = "@\(server.folder)/root/ten.txt"
        let ten = Array("0123456789".utf8)
        let echo = ["--data-binary", file, "\(base)/echo"]
        #expect(try curl(server, echo) == ten)
        #expect(try curl(server, ["-H", "Transfer-Encoding: chunked"] + echo) == ten)
        #expect(try curl(server, ["-0"] + echo) == ten)
        #expect(try curl(server, ["-H", "Expect: 100-continue"] + echo) == ten)
        let code = ["-o", "/dev/null", "-w", "%{http_code}"]
        let large = ["--data-binary", "@\(server.folder)/root/big", "\(base)/echo"]
        #expect(try curl(server, code + large) == Array("413".utf8))
    }

    /// Runs with and without keep-alive, which ab must request in its HTTP/1.0.
    @Test(
        "the server answers every request of ApacheBench with and without keep-alive",
        arguments: Form.all, [["-k"], []])
    func apacheBenchIsServed(_ form: Form, _ options: [String]) throws {
        let server = try ServerUnderTest(form)
        let url = "http://127.0.0.1:\(server.port)/json"
        let result = try ChildProcess(["ab", "-q", "-n", "2000", "-c", "20"] + options + [url])
            .finish()
        let report = String(decoding: result.output, as: UTF8.self)
        #expect(result.end == .exited(0), "\(report)")
        func number(_ name: String) -> Substring? {
            report.split(separator: "\n").first { $0.hasPrefix(name + ":") }?
                .split(separator: " ").last
        }
        #expect(number("Complete requests") == "2000", "\(report)")
        #expect(number("Failed requests") == "0", "\(report)")
        #expect(number("Keep-Alive requests") == (options.isEmpty ? nil : "2000"), "\(report)")
        #expect(!report.contains("Non-2xx"), "\(report)")
        #expect(try server.stop() == 0)
    }

    /// Checks that h11, an independent library, reads every accepted request in the same way.
    @Test("h11 reads every accepted request in the same way as the server", arguments: Form.all)
    func h11AgreesOnWhatIsAccepted(_ form: Form) throws {
        try expectAgreement(form, [Self.differential])
    }

    /// Like `h11AgreesOnWhatIsAccepted`, but with pipelines of several requests and the parser of
    /// Node.js.
    @Test(
        "llhttp, the parser of Node.js, reads accepted pipelines as the server does",
        .enabled(
            if: (try? ChildProcess(["node", "--version"]).finish().end) == .exited(0),
            "needs Node.js"),
        arguments: Form.all)
    func llhttpAgreesOnWhatIsAccepted(_ form: Form) throws {
        try expectAgreement(form, [Self.differential, "--parser", "llhttp"])
    }

    private static let differential = "\(PackageFiles.root)/Scripts/differential-http"

    private func expectAgreement(_ form: Form, _ command: [String]) throws {
        let server = try ServerUnderTest(form)
        let seed = form.loops + (form.backend == "epoll" ? 0 : 2)
        let result = try ChildProcess(command + ["\(server.port)", "2000", "\(seed)"]).finish()
        #expect(
            result.end == .exited(0),
            "seed \(seed): \(String(decoding: result.output, as: UTF8.self))")
    }
}
