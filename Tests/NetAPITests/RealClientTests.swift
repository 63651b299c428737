/// Tests with other programs as clients of `echo-server`, where they are installed.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct RealClientTests {
    private static let backends = ["epoll", "io_uring"]

    private static func find(_ name: String) -> String? {
        ["/usr/bin", "/bin", "/usr/local/bin"].map { "\($0)/\(name)" }.first {
            access($0, X_OK) == 0
        }
    }

    /// Sends a file of 1 MB through a shell command that contains `HOST` and `PORT` or `PATH`, and
    /// compares the result.
    private func exchange(_ command: String, listen: String, backend: String) throws {
        let (input, output) = (TemporaryPath.make("in"), TemporaryPath.make("out"))
        defer {
            unlink(input)
            unlink(output)
        }
        let line = "0123456789 the quick brown fox\n"
        let text = String(repeating: line, count: 1_000_000 / line.utf8.count)
        try TemporaryPath.write(text, to: input)
        let server = try ChildProcess([
            try EchoServerTests.path(), "--listen", listen, "--backend", backend,
        ])
        let words = try server.readLine().split(separator: " ")
        let address = try Address(parsing: String(words[2]))
        let client = try ChildProcess([
            "/bin/sh", "-c",
            "\(fill(command, address)) < \(input) > \(output)",
        ])
        #expect(try client.wait() == .exited(0), "\(client.readErrors())")
        #expect(readText(output) == text)
        server.signal(SIGTERM)
        #expect(try server.wait() == .exited(0))
    }

    private func fill(_ command: String, _ address: Address) -> String {
        let path = address.description.replacing("unix://", with: "")
        return command.replacing("PORT", with: "\(address.port ?? 0)")
            .replacing("PATH", with: path)
    }

    @Test(
        "netcat receives its file back",
        .enabled(if: find("nc") != nil, "nc is not installed"), arguments: backends)
    func netcatGetsItsFileBack(_ backend: String) throws {
        try exchange("nc -N 127.0.0.1 PORT", listen: "tcp://127.0.0.1:0", backend: backend)
    }

    @Test(
        "socat receives its file back over TCP",
        .enabled(if: find("socat") != nil, "socat is not installed"), arguments: backends)
    func socatGetsItsFileBackOverTCP(_ backend: String) throws {
        try exchange(
            "socat -t 20 - TCP:127.0.0.1:PORT", listen: "tcp://127.0.0.1:0", backend: backend)
    }

    @Test(
        "socat receives its file back over a Unix socket",
        .enabled(if: find("socat") != nil, "socat is not installed"), arguments: backends)
    func socatGetsItsFileBackOverAUnixSocket(_ backend: String) throws {
        let path = TemporaryPath.make()
        try exchange("socat -t 20 - UNIX-CONNECT:PATH", listen: "unix://\(path)", backend: backend)
    }
}
