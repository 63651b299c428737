/// kv-server as a process, and programs that connect to it. No call here waits for ever.
import Glibc
import TestSupport
import Testing

final class ServerProcess: ServerProgram {
    private var clients: [StreamSocket] = []

    static let path = ServerProgram.path(of: "kv-server", or: "MILLRACE_KV_SERVER")

    init(_ form: Form, _ options: [String] = []) throws {
        try super.init(Self.path, form, options)
    }

    /// Returns a client, which `stop` closes: the server would wait for it to end its side.
    func connect(receiveBuffer: CInt? = nil) throws -> StreamSocket {
        let client = try StreamSocket(port: port, receiveBuffer: receiveBuffer)
        clients.append(client)
        return client
    }

    /// Returns the exit status after SIGTERM; nil if a signal ended the server.
    override func stop() throws -> CInt? {
        for client in clients { client.close() }
        return try super.stop()
    }

    /// Returns the exit status and the output of a program of the PATH, with standard output and
    /// errors together.
    static func run(
        _ words: [String], input: String = "", within seconds: Int = 60
    ) throws -> (CInt?, String) {
        // The input is a file, since a full pipe would stop the program.
        let path = TemporaryPath.make("input")
        try TemporaryPath.write(input, to: path)
        defer { unlink(path) }
        let limit = max(patience, .seconds(seconds))
        let program = try ChildProcess(
            ["timeout", "\(limit.components.seconds)"] + words, input: path, joinsErrors: true)
        let (output, end) = try program.finish(within: limit)
        return (end.status, String(decoding: output, as: UTF8.self))
    }
}
