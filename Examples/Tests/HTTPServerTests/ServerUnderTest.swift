/// The built `http-server` as a child process, with a folder of its own.
import Glibc
import TestSupport
import Testing

struct Form: CustomTestStringConvertible {
    let backend: String
    let loops: Int
    var testDescription: String { "\(backend), \(loops)" }

    static let all = ["epoll", "io_uring"].flatMap { backend in
        [1, 2].map { Form(backend: backend, loops: $0) }
    }
}

final class ServerUnderTest {
    let program: Program
    let port: UInt16
    let folder: String
    static let bigFile = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }

    static let repository = {
        let parts = #filePath.split(separator: "/").dropLast(4)
        return "/" + parts.joined(separator: "/")
    }()

    init(_ form: Form, _ options: [String] = [], environment: [String] = []) throws {
        var template = Array("/tmp/millrace-http-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Program.Failure(what: "mkdtemp") }
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        mkdir("\(folder)/root", 0o755)
        Self.write(Array("outside".utf8), "\(folder)/secret")
        Self.write(Array("<p>hello".utf8), "\(folder)/root/index.html")
        Self.write(Array("0123456789".utf8), "\(folder)/root/ten.txt")
        Self.write(Self.bigFile, "\(folder)/root/big")
        symlink("\(folder)/secret", "\(folder)/root/link")
        mkfifo("\(folder)/root/fifo", 0o644)
        let path =
            getenv("MILLRACE_HTTP_SERVER").map { String(cString: $0) }
            ?? "\(Self.repository)/.build/bin/http-server"
        guard access(path, X_OK) == 0 else {
            throw Program.Failure(what: "no \(path): run make examples")
        }
        program = try Program(
            [
                path, "--listen", "tcp://127.0.0.1:0", "--backend", form.backend, "--loops",
                "\(form.loops)", "--root", "\(folder)/root",
            ] + options, environment: environment)
        let words = try program.readLine().split(separator: " ")
        guard words.count > 2, let port = UInt16(words[2].split(separator: ":").last ?? "") else {
            throw Program.Failure(what: "not a listening line: \(words)")
        }
        self.port = port
    }

    deinit {
        for name in [
            "secret", "root/index.html", "root/ten.txt", "root/big", "root/link",
            "root/fifo",
        ] { unlink("\(folder)/\(name)") }
        rmdir("\(folder)/root")
        rmdir(folder)
    }

    private static func write(_ bytes: [UInt8], _ path: String) {
        let file = open(path, O_WRONLY | O_CREAT, 0o644)
        _ = Glibc.write(file, bytes, bytes.count)
        close(file)
    }

    func client() throws -> Client { try Client(port: port) }

    /// Its counters by their names, as `/metrics` tells them.
    func metrics() throws -> [Substring: Int] {
        let client = try client()
        client.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        let lines = try client.receiveResponse().text.split(separator: "\n")
        var found: [Substring: Int] = [:]
        for line in lines where line.hasPrefix("millrace_") {
            let words = line.dropFirst("millrace_".count).split(separator: " ")
            found[words[0]] = Int(words[1])
        }
        return found
    }

    /// What it has in memory now.
    func residentBytes() throws -> Int {
        let pages = try Program(["cat", "/proc/\(program.id)/statm"]).finish().output
        let words = String(decoding: pages, as: UTF8.self).split(separator: " ")
        return try #require(Int(words[1])) * sysconf(CInt(_SC_PAGESIZE))
    }

    /// Status of its orderly end.
    func stop() throws -> CInt? {
        kill(program.id, SIGTERM)
        return try program.finish().status
    }
}
