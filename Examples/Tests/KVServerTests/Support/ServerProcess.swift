/// kv-server as a process, and programs that talk to it. Nothing here waits for ever.
import Glibc
import TestSupport
import Testing

struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// How the server is started.
struct Form: Sendable, CustomTestStringConvertible {
    let backend: String
    let loops: Int

    var testDescription: String { "\(backend), \(loops) loops" }

    static let all = ["epoll", "io_uring"].flatMap { backend in
        [1, 2].map { Form(backend: backend, loops: $0) }
    }
}

final class ServerProcess {
    let port: UInt16
    private let program: Program
    private var clients: [RawClient] = []

    static let repository = {
        let parts = #filePath.split(separator: "/").dropLast(5)
        return "/" + parts.joined(separator: "/")
    }()
    static let path =
        getenv("MILLRACE_KV_SERVER").map { String(cString: $0) }
        ?? "\(repository)/.build/bin/kv-server"

    init(_ form: Form) throws {
        guard access(Self.path, X_OK) == 0 else {
            throw Failure("no \(Self.path): run make examples")
        }
        program = try Program([
            Self.path, "--listen", "tcp://127.0.0.1:0", "--backend", form.backend, "--loops",
            "\(form.loops)",
        ])
        // It says one line at once, or ends.
        let line = try program.readLine()
        let address = line.split(separator: " ").dropFirst(2).first ?? ""
        guard let port = UInt16(address.split(separator: ":").last ?? "") else {
            throw Failure("not a listening line: \(line)")
        }
        self.port = port
    }

    func terminate() { kill(program.id, SIGTERM) }

    /// A client, closed by `stop`: the server would wait for it to end its side.
    func connect(receiveBuffer: CInt? = nil) throws -> RawClient {
        let client = try RawClient(port: port, receiveBuffer: receiveBuffer)
        clients.append(client)
        return client
    }

    /// The exit status after SIGTERM; nil if a signal ended it.
    func stop() throws -> CInt? {
        for client in clients { client.close() }
        terminate()
        return try program.finish(within: 30).status
    }

    /// What a program of the PATH prints, standard output and errors together.
    static func run(
        _ words: [String], input: String = "", within seconds: Int = 60
    ) throws -> (CInt?, String) {
        // A file, since a full pipe would stop the program.
        let path = "/tmp/millrace-kv-\(getpid())"
        guard let file = fopen(path, "w") else { throw Failure("\(path): \(errno)") }
        defer { unlink(path) }
        fputs(input, file)
        fclose(file)
        let program = try Program(
            ["timeout", "\(seconds)"] + words, input: path, joinsErrors: true)
        let (output, status) = try program.finish(within: seconds)
        return (status, String(decoding: output, as: UTF8.self))
    }
}
