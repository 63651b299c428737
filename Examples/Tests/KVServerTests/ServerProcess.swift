/// kv-server as a process, and programs that connect to it. No call here waits for ever.
import Glibc
import TestSupport
import Testing

final class ServerProcess {
    private let server: ServerProgram
    private var clients: [RawClient] = []

    static let path = ServerProgram.path(of: "kv-server", or: "MILLRACE_KV_SERVER")

    init(_ form: Form, _ options: [String] = []) throws {
        server = try ServerProgram(Self.path, form, options)
    }

    var port: UInt16 { server.port }

    func residentBytes() throws -> Int { try server.residentBytes() }

    func terminate() { server.terminate() }

    /// Returns a client, which `stop` closes: the server would wait for it to end its side.
    func connect(receiveBuffer: CInt? = nil) throws -> RawClient {
        let client = try RawClient(port: port, receiveBuffer: receiveBuffer)
        clients.append(client)
        return client
    }

    /// Returns the exit status after SIGTERM; nil if a signal ended the server.
    func stop() throws -> CInt? {
        for client in clients { client.close() }
        return try server.stop()
    }

    /// Returns the exit status and the output of a program of the PATH, with standard output and
    /// errors together.
    static func run(
        _ words: [String], input: String = "", within seconds: Int = 60
    ) throws -> (CInt?, String) {
        // The input is a file, since a full pipe would stop the program.
        let path = "/tmp/millrace-kv-\(getpid())"
        guard let file = fopen(path, "w") else { throw Failure("\(path): \(errno)") }
        defer { unlink(path) }
        fputs(input, file)
        fclose(file)
        let limit = max(patience, .seconds(seconds))
        let program = try ChildProcess(
            ["timeout", "\(limit.components.seconds)"] + words, input: path, joinsErrors: true)
        let (output, end) = try program.finish(within: limit)
        return (end.status, String(decoding: output, as: UTF8.self))
    }
}
