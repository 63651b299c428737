// The access log: one line for each request, with the peer, the request line and the response. It
// is off unless a file is named. The request line is then kept until the response is known.
import Glibc
import HTTPCodec
import Synchronization

/// The log file of all loops, each of which appends whole lines.
final class AccessLogFile: Sendable {
    private let descriptor: CInt
    private let isPipe: Bool
    /// Whether the file ends with an incomplete line.
    private let isTorn = Atomic(false)

    struct NoFile: Error, CustomStringConvertible {
        let description: String
    }

    /// Opens the file for appending; `-` is the standard output. Throws `NoFile` if it cannot be
    /// opened.
    init(path: String) throws {
        // A write to a pipe without a reader must lose lines, not end the server by SIGPIPE.
        signal(SIGPIPE, SIG_IGN)
        descriptor = Self.open(path)
        guard descriptor >= 0 else {
            let reason =
                errno == ENXIO ? "nobody reads from it" : String(cString: strerror(errno))
            throw NoFile(description: "--access-log \(path): \(reason)")
        }
        var status = stat()
        isPipe = fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO
    }

    /// Opens a file without blocking, because a write that waits for a reader would delay every
    /// client.
    private static func open(_ path: String) -> CInt {
        let flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK
        guard path == "-" else { return Glibc.open(path, flags | O_CREAT, 0o640) }
        // O_NONBLOCK belongs to the open file description, which other processes share and may
        // expect to block. This opens another description of the same file.
        let own = Glibc.open("/proc/self/fd/1", flags)
        return own >= 0 ? own : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
    }

    deinit { close(descriptor) }

    /// Appends lines. Lines that a full disk or a full pipe does not accept are lost, because
    /// responses are more important.
    func append(_ lines: [UInt8]) {
        lines.withUnsafeBytes { lines in
            guard isPipe else { return put(lines) }
            // A pipe accepts up to PIPE_BUF bytes as one piece or not at all.
            var rest = lines[...]
            while !rest.isEmpty {
                let most = rest.prefix(Int(PIPE_BUF))
                let end = rest.count <= most.count ? nil : most.lastIndex(of: 0x0A)
                let piece = end.map { rest[...$0] } ?? most
                put(UnsafeRawBufferPointer(rebasing: piece))
                rest = rest[piece.endIndex...]
            }
        }
    }

    private func put(_ lines: UnsafeRawBufferPointer) {
        if isTorn.load(ordering: .relaxed) {
            guard write(descriptor, "\n", 1) == 1 else { return }
            isTorn.store(false, ordering: .relaxed)
        }
        let count = write(descriptor, lines.baseAddress, lines.count)
        if count > 0, lines[count - 1] != 0x0A { isTorn.store(true, ordering: .relaxed) }
    }
}

/// The lines of one loop, written in batches.
final class AccessLog {
    private static let gatheredBytes = 32 << 10
    /// The most bytes of a request line in the log, since a client may send a long one.
    private static let longestText = 1024

    private let file: AccessLogFile
    private var lines: [UInt8] = []

    init(_ file: AccessLogFile) { self.file = file }

    /// Copies the first line of `bytes` to `text`, escaped for a quoted string, so that a client
    /// cannot forge lines.
    static func requestLine(_ bytes: UnsafeRawBufferPointer, into text: inout [UInt8]) {
        text.removeAll(keepingCapacity: true)
        for byte in bytes.drop(while: { $0 == 0x0D || $0 == 0x0A }) {
            if byte == 0x0D || byte == 0x0A || text.count >= longestText { break }
            append(byte, to: &text)
        }
    }

    private static func append(_ byte: UInt8, to text: inout [UInt8]) {
        if byte >= 0x20, byte < 0x7F, byte != 0x22, byte != 0x5C { return text.append(byte) }
        let digits = String(byte, radix: 16, uppercase: true)
        text.append(contentsOf: (byte < 16 ? "\\x0" : "\\x").utf8)
        text.append(contentsOf: digits.utf8)
    }

    /// Adds a line. `length` is the number of bytes in the response's body.
    func add(
        _ peer: String, _ date: UnsafeRawBufferPointer, _ request: [UInt8], _ status: Status,
        _ length: Int
    ) {
        // The name of a Unix socket may contain any byte.
        for byte in peer.utf8 { Self.append(byte, to: &lines) }
        lines.append(contentsOf: " [".utf8)
        lines.append(contentsOf: date)
        lines.append(contentsOf: "] \"".utf8)
        lines.append(contentsOf: request)
        lines.append(contentsOf: "\" \(status.rawValue) \(length)\n".utf8)
        if lines.count >= Self.gatheredBytes { flush() }
    }

    // The last lines are those of responses sent while the server stopped.
    deinit { flush() }

    func flush() {
        guard !lines.isEmpty else { return }
        file.append(lines)
        lines.removeAll(keepingCapacity: true)
    }
}
