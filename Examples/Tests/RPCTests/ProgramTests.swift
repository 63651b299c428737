/// Both programs over real sockets: a server that stops and one that is killed under calls.
import Glibc
import TestSupport
import Testing

@Suite struct ProgramTests {
    private static let server = ServerProgram.path(of: "rpc-server", or: "MILLRACE_RPC_SERVER")
    private static let client = ServerProgram.path(of: "rpc-client", or: "MILLRACE_RPC_CLIENT")

    private func call(_ address: String, _ form: Form, _ options: [String]) throws -> ChildProcess {
        try ChildProcess(
            [Self.client, "--connect", address, "--backend", form.backend, "--wait", "10"]
                + options)
    }

    private func result(of client: ChildProcess) throws -> String {
        let (output, end) = try client.finish()
        #expect(end == .exited(0))
        return String(decoding: output, as: UTF8.self)
    }

    @Test("calls are answered", arguments: Form.all)
    func answers(_ form: Form) throws {
        let server = try ServerProgram(Self.server, form)
        let client = try call("tcp://127.0.0.1:\(server.port)", form, ["--calls", "20"])
        #expect(try result(of: client) == "right: 200\n")
        #expect(try server.stop() == 0)
    }

    @Test("a restart and a kill cost repeated calls nothing", arguments: Form.all)
    func restarts(_ form: Form) throws {
        let path = TemporaryPath.make()
        defer { unlink(path) }
        // The kernel lets go of a killed process's ring, and of the listening socket in it, some
        // time after its end. Until then the path is in use.
        func start() throws -> ChildProcess {
            let deadline = Deadline()
            while true {
                let server = try ChildProcess(
                    [
                        Self.server, "--listen", "unix://\(path)", "--backend", form.backend,
                        "--loops", "\(form.loops)",
                    ])
                let line = try? server.readLine()
                if line?.hasPrefix("listening on unix://") == true { return server }
                try deadline.check("a start on the path: \(server.readErrors())")
                usleep(20_000)
            }
        }
        var server = try start()
        let client = try call("unix://\(path)", form, ["--calls", "150", "--repeats"])
        for signal in [SIGTERM, SIGKILL] {
            // Many calls of the first client are made while the second one makes these.
            let second = try call("unix://\(path)", form, ["--callers", "1", "--calls", "20"])
            #expect(try result(of: second) == "right: 20\n")
            server.signal(signal)
            #expect(
                try server.wait() == (signal == SIGTERM ? .exited(0) : .killed(signal: SIGKILL)))
            server = try start()
        }
        #expect(try result(of: client) == "right: 1500\n")
        server.signal(SIGTERM)
        #expect(try server.wait() == .exited(0))
    }

    @Test("a SIGTERM right behind the server's first line is handled", arguments: Form.all)
    func earlySignal(_ form: Form) throws {
        for _ in 0..<10 {
            let server = try ServerProgram(Self.server, form)
            #expect(try server.stop() == 0)
        }
    }
}
