/// kv-server as a process, and programs that talk to it. Nothing here waits for ever.
import Foundation
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
    private let process = Process()
    private var clients: [RawClient] = []

    init(_ form: Form) throws {
        let root = URL(filePath: #filePath).pathComponents.dropLast(5).joined(separator: "/")
        let path =
            ProcessInfo.processInfo.environment["MILLRACE_KV_SERVER"]
            ?? "\(root)/.build/bin/kv-server"
        guard access(path, X_OK) == 0 else { throw Failure("no \(path): run make examples") }
        process.executableURL = URL(filePath: path)
        process.arguments = [
            "--listen", "tcp://127.0.0.1:0", "--backend", form.backend, "--loops", "\(form.loops)",
        ]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        // It says one line at once, or ends.
        let line = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
        let address = line.split(separator: " ").dropFirst(2).first ?? ""
        guard let port = UInt16(address.split(separator: ":").last ?? "") else {
            process.terminate()
            throw Failure("not a listening line: \(line)")
        }
        self.port = port
    }

    deinit {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    }

    func terminate() { process.terminate() }

    /// A client, closed by `stop`: the server would wait for it to end its side.
    func connect(receiveBuffer: CInt? = nil) throws -> RawClient {
        let client = try RawClient(port: port, receiveBuffer: receiveBuffer)
        clients.append(client)
        return client
    }

    /// The exit status after SIGTERM.
    func stop() throws -> Int32 {
        for client in clients { client.close() }
        terminate()
        return try Self.wait(for: process)
    }

    /// What a program of the PATH prints, standard output and errors together.
    static func run(_ words: [String], input: String? = nil) throws -> (Int32, String) {
        let program = Process()
        program.executableURL = URL(filePath: "/usr/bin/env")
        program.arguments = ["timeout", "20"] + words
        let file = FileManager.default.temporaryDirectory.appending(path: "kv-\(UUID())")
        defer { try? FileManager.default.removeItem(at: file) }
        // A file, since a full pipe would stop the program.
        _ = FileManager.default.createFile(atPath: file.path, contents: nil)
        let handle = try FileHandle(forWritingTo: file)
        program.standardOutput = handle
        program.standardError = handle
        let source = Pipe()
        program.standardInput = source
        try program.run()
        if let input { source.fileHandleForWriting.write(Data(input.utf8)) }
        try source.fileHandleForWriting.close()
        let status = try wait(for: program)
        return (status, try String(contentsOf: file, encoding: .utf8))
    }

    private static func wait(for process: Process) throws -> Int32 {
        for _ in 0..<15_000 {
            if !process.isRunning { return process.terminationStatus }
            usleep(2000)
        }
        kill(process.processIdentifier, SIGKILL)
        throw Failure("\(process.executableURL?.lastPathComponent ?? "") did not end in 30 s")
    }
}
