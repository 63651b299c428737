/// The built `http-server` as a child process, with a folder of its own.
import Glibc
import TestSupport
import Testing

final class ServerUnderTest {
    private let server: ServerProgram
    let folder: String
    static let bigFile = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }

    var program: ChildProcess { server.program }
    var port: UInt16 { server.port }
    static let path = ServerProgram.path(of: "http-server", or: "MILLRACE_HTTP_SERVER")

    init(_ form: Form, _ options: [String] = [], environment: [String: String] = [:]) throws {
        var template = Array("/tmp/millrace-http-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure("mkdtemp") }
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        mkdir("\(folder)/root", 0o755)
        Self.write(Array("outside".utf8), "\(folder)/secret")
        Self.write(Array("<p>hello".utf8), "\(folder)/root/index.html")
        Self.write(Array("0123456789".utf8), "\(folder)/root/ten.txt")
        Self.write(Self.bigFile, "\(folder)/root/big")
        Self.write(Array("JPEG".utf8), "\(folder)/root/PHOTO.JPG")
        for name in ["folder", ".well-known"] {
            mkdir("\(folder)/root/\(name)", 0o755)
            Self.write(Array("<p>\(name)".utf8), "\(folder)/root/\(name)/index.html")
        }
        symlink("\(folder)/secret", "\(folder)/root/link")
        mkfifo("\(folder)/root/fifo", 0o644)
        server = try ServerProgram(
            Self.path, form, ["--root", "\(folder)/root"] + options, environment: environment)
    }

    deinit {
        for name in [
            "secret", "root/index.html", "root/ten.txt", "root/big", "root/link",
            "root/fifo", "root/PHOTO.JPG", "root/folder/index.html", "root/.well-known/index.html",
        ] { unlink("\(folder)/\(name)") }
        for name in ["folder", ".well-known"] { rmdir("\(folder)/root/\(name)") }
        rmdir("\(folder)/root")
        rmdir(folder)
    }

    private static func write(_ bytes: [UInt8], _ path: String) {
        let file = open(path, O_WRONLY | O_CREAT, 0o644)
        _ = Glibc.write(file, bytes, bytes.count)
        close(file)
    }

    func client(receiveBuffer: CInt? = nil) throws -> Client {
        try Client(port: port, receiveBuffer: receiveBuffer)
    }

    /// Returns the counters in `/metrics` by their names.
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

    func residentBytes() throws -> Int { try server.residentBytes() }

    /// Stops the server and returns its exit status; nil if a signal ended it.
    func stop() throws -> CInt? { try server.stop() }
}
