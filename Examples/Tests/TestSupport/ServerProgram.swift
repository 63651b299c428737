/// An example server as a child process, from its listening line to its end.
import Glibc

open class ServerProgram {
    public let program: ChildProcess
    public let port: UInt16
    private var isTold = false

    /// Returns the path of the built program, or the path in `variable` of the environment.
    public static func path(of name: String, or variable: String) -> String {
        getenv(variable).map { String(cString: $0) } ?? "\(PackageFiles.root)/.build/bin/\(name)"
    }

    /// Starts the server on a free port and waits for its listening line. Throws if the server ends
    /// instead.
    public init(
        _ path: String, _ form: Form, _ options: [String] = [], environment: [String: String] = [:]
    ) throws {
        guard access(path, X_OK) == 0 else { throw Failure("no \(path): run make examples") }
        program = try ChildProcess(
            [
                path, "--listen", "tcp://127.0.0.1:0", "--backend", form.backend, "--loops",
                "\(form.loops)",
            ] + options, environment: environment)
        let line = try program.readLine()
        let address = line.split(separator: " ").dropFirst(2).first ?? ""
        guard let port = UInt16(address.split(separator: ":").last ?? "") else {
            throw Failure("not a listening line: \(line)")
        }
        self.port = port
    }

    /// Returns the resident memory of the server, in bytes.
    public func residentBytes() -> Int { TestSupport.residentBytes(of: program.id) }

    /// Sends SIGTERM, once: a second one may come when the server has left its signals to the
    /// kernel again, which then ends the process before its exit.
    public func terminate() {
        if !isTold { kill(program.id, SIGTERM) }
        isTold = true
    }

    /// Returns the exit status after SIGTERM; nil if a signal ended the server.
    open func stop() throws -> CInt? {
        terminate()
        return try program.finish().end.status
    }
}
