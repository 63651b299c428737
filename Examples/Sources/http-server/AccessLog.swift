// One line for each request: who asked for what, and what it got. Off unless a file is named; what
// it needs of a request is then kept until the answer is known.
import Glibc
import HTTPCodec

/// The file, for all loops: each appends whole lines.
final class AccessLogFile: Sendable {
    private let descriptor: CInt

    struct NoFile: Error, CustomStringConvertible {
        let description: String
    }

    /// Adds to the file of this name; `-` is the standard output.
    init(path: String) throws {
        descriptor =
            path == "-"
            ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
            : open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o640)
        // A pipe that nobody reads any more loses lines, not the server.
        signal(SIGPIPE, SIG_IGN)
        guard descriptor >= 0 else {
            throw NoFile(description: "--access-log \(path): \(String(cString: strerror(errno)))")
        }
    }

    deinit { close(descriptor) }

    /// What a full disk does not take is lost: answering is worth more.
    func append(_ lines: [UInt8]) {
        _ = lines.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    }
}

/// One loop's lines, which are written some at a time.
final class AccessLog {
    private static let gatheredBytes = 32 << 10
    /// Of a request line; no log need be as long as what clients send.
    private static let longestText = 1024

    private let file: AccessLogFile
    private var lines: [UInt8] = []

    init(_ file: AccessLogFile) { self.file = file }

    /// The first line of what came, as it may stand between quotes: nobody can make up lines.
    static func requestLine(_ bytes: UnsafeRawBufferPointer, into text: inout [UInt8]) {
        text.removeAll(keepingCapacity: true)
        for byte in bytes.drop(while: { $0 == 0x0D || $0 == 0x0A }) {
            if byte == 0x0D || byte == 0x0A || text.count >= longestText { break }
            if byte >= 0x20, byte < 0x7F, byte != 0x22, byte != 0x5C {
                text.append(byte)
            } else {
                let digits = String(byte, radix: 16, uppercase: true)
                text.append(contentsOf: (byte < 16 ? "\\x0" : "\\x").utf8)
                text.append(contentsOf: digits.utf8)
            }
        }
    }

    /// `length` is that of the answer's body.
    func add(
        _ peer: String, _ date: UnsafeRawBufferPointer, _ request: [UInt8], _ status: Status,
        _ length: Int
    ) {
        lines.append(contentsOf: peer.utf8)
        lines.append(contentsOf: " [".utf8)
        lines.append(contentsOf: date)
        lines.append(contentsOf: "] \"".utf8)
        lines.append(contentsOf: request)
        lines.append(contentsOf: "\" \(status.rawValue) \(length)\n".utf8)
        if lines.count >= Self.gatheredBytes { flush() }
    }

    // What was answered while the server stopped.
    deinit { flush() }

    func flush() {
        guard !lines.isEmpty else { return }
        file.append(lines)
        lines.removeAll(keepingCapacity: true)
    }
}
