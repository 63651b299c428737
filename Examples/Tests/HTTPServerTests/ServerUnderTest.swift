/// The built `http-server` as a child process, with a folder of its own.
import Glibc
import TestSupport
import Testing

final class ServerUnderTest: ServerProgram {
    let folder: String
    static let bigFile = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }

    static let path = ServerProgram.path(of: "http-server", or: "MILLRACE_HTTP_SERVER")

    init(_ form: Form, _ options: [String] = [], environment: [String: String] = [:]) throws {
        folder = TemporaryPath.make("http")
        mkdir(folder, 0o700)
        mkdir("\(folder)/root", 0o755)
        try TemporaryPath.write("outside", to: "\(folder)/secret")
        try TemporaryPath.write("<p>hello", to: "\(folder)/root/index.html")
        try TemporaryPath.write("0123456789", to: "\(folder)/root/ten.txt")
        try TemporaryPath.write(Self.bigFile, to: "\(folder)/root/big")
        try TemporaryPath.write("JPEG", to: "\(folder)/root/PHOTO.JPG")
        for name in ["folder", ".well-known"] {
            mkdir("\(folder)/root/\(name)", 0o755)
            try TemporaryPath.write("<p>\(name)", to: "\(folder)/root/\(name)/index.html")
        }
        symlink("\(folder)/secret", "\(folder)/root/link")
        mkfifo("\(folder)/root/fifo", 0o644)
        try super.init(
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
}
