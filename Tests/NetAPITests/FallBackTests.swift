/// Tests of the `echo-server` program where io_uring is missing, forbidden, restricted or short of
/// memory. It serves on epoll and logs the reason, or exits with one line if no other backend was
/// allowed.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct FallBackTests {
    /// The error of a kernel or a sandbox, and a word that the reason must contain.
    static let refusals = [
        ("io_uring_setup:error=ENOSYS", "ENOSYS"), ("io_uring_setup:error=EPERM", "EPERM"),
        ("io_uring_register:error=EINVAL", "EINVAL"),
    ]
    /// Too little locked memory for eight rings. Only root can change to a user that this limits.
    private static let asNobody = [
        "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "prlimit",
        "--memlock=262144",
    ]

    static func has(_ program: String) -> Bool {
        access("/usr/bin/\(program)", X_OK) == 0
    }

    static var canBecomeNobody: Bool { getuid() == 0 && has("setpriv") && has("prlimit") }

    /// `-D`, so that our child is the server and not the tracer: signals and the exit status are
    /// the server's.
    private func refused(_ refusal: String, _ backend: String) throws -> ChildProcess {
        try start(
            ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "inject=\(refusal)"],
            [try EchoServerTests.path()], backend, loops: 1)
    }

    private func start(
        _ prefix: [String], _ program: [String], _ backend: String, loops: Int
    ) throws -> ChildProcess {
        let options = [
            "--listen", "tcp://127.0.0.1:0", "--backend", backend, "--loops", "\(loops)",
        ]
        return try ChildProcess(["/usr/bin/env"] + prefix + program + options)
    }

    /// Returns everything that the process wrote to standard error.
    private func expectService(
        of process: ChildProcess, backend: String, clients: Int
    ) throws -> String {
        let line = try process.readLine()
        #expect(line.contains("(backend: \(backend),"), "\(line)")
        let words = line.split(separator: " ")
        let address = try Address(parsing: String(words.dropFirst(2).first ?? ""))
        for number in 0..<clients {
            let client = try TestClient(to: address)
            #expect(try client.roundTrip("client \(number)"))
            client.close()
        }
        process.signal(SIGTERM)
        #expect(try process.wait() == .exited(0))
        return process.readErrors()
    }

    private func expectRefusal(of process: ChildProcess, because reason: String) throws {
        #expect(try process.wait() == .exited(1))
        let errors = process.readErrors()
        #expect(errors.hasPrefix("error: io_uring cannot run here: "), "\(errors)")
        #expect(errors.contains(reason) && errors.count { $0 == "\n" } == 1, "\(errors)")
    }

    @Test(
        "with auto, the server runs on epoll and reports why io_uring is unavailable",
        .enabled(if: has("strace")), arguments: refusals)
    func automaticServesAndSaysWhyNotIoUring(_ refusal: String, _ reason: String) throws {
        let errors = try expectService(
            of: try refused(refusal, "auto"), backend: "epoll", clients: 1)
        #expect(errors.count { $0 == "\n" } == 1, "\(errors)")
        #expect(errors.contains("epoll instead of io_uring: ") && errors.contains(reason))
    }

    @Test(
        "with io_uring requested by name, the server prints one line of error and fails",
        .enabled(if: has("strace")), arguments: refusals)
    func askedForByNameItIsOneLineAndAFailure(_ refusal: String, _ reason: String) throws {
        try expectRefusal(of: try refused(refusal, "io_uring"), because: reason)
    }

    @Test("loops that lack memory for io_uring run on epoll", .enabled(if: canBecomeNobody))
    func loopsForWhichMemoryIsLackingRunOnEpoll() throws {
        try withReadableServer { server in
            let process = try start(Self.asNobody, [server], "auto", loops: 8)
            // More clients than loops, so that each loop serves some.
            let errors = try expectService(of: process, backend: "io_uring", clients: 64)
            let lines = errors.split(separator: "\n")
            let fallBacks = lines.filter { $0.contains("epoll instead of io_uring: ") }
            #expect(fallBacks.count == 1, "\(errors)")
            #expect(fallBacks.allSatisfy { $0.contains("RLIMIT_MEMLOCK") })
            // Smaller rings are tried before epoll, and that is logged once too.
            #expect(lines.count { $0.contains("submission entries") } <= 1)
            #expect(lines.count <= 2, "\(errors)")
        }
    }

    @Test(
        "a lack of memory for one loop is a failure if only io_uring is allowed",
        .enabled(if: canBecomeNobody))
    func memoryThatIsLackingForOneOfTheLoopsIsAFailureIfNothingElseIsAllowed() throws {
        try withReadableServer { server in
            let process = try start(Self.asNobody, [server], "io_uring", loops: 8)
            #expect(try process.wait() == .exited(1))
            let errors = process.readErrors().split(separator: "\n")
            let refusals = errors.filter { $0.hasPrefix("error: io_uring cannot run here: ") }
            #expect(refusals.count == 1, "\(errors)")
            #expect(refusals.allSatisfy { $0.contains("RLIMIT_MEMLOCK") })
        }
    }

    /// Makes a copy that every user may read: a home directory often denies access to others.
    private func withReadableServer(_ body: (String) throws -> Void) throws {
        let copy = TemporaryPath.make("server")
        defer { unlink(copy) }
        let process = try ChildProcess(["/bin/cp", try EchoServerTests.path(), copy])
        #expect(try process.wait() == .exited(0))
        chmod(copy, 0o755)
        try body(copy)
    }
}
