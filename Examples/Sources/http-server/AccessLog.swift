// One line for each request: who asked for what, and what it got. Off unless a file is named; what
// it needs of a request is then kept until the answer is known.
import Glibc
import HTTPCodec
import Synchronization

/// The file, for all loops: each appends whole lines.
final class AccessLogFile: Sendable {
    private let descriptor: CInt
    private let isPipe: Bool
    /// The last line in the file is the start of one.
    private let isTorn = Atomic(false)

    struct NoFile: Error, CustomStringConvertible {
        let description: String
    }

    /// Adds to the file of this name; `-` is the standard output.
    init(path: String) throws {
        // A pipe that nobody reads any more loses lines, not the server.
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

    /// No write may wait for who reads: that would hold up every client.
    private static func open(_ path: String) -> CInt {
        let flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK
        guard path == "-" else { return Glibc.open(path, flags | O_CREAT, 0o640) }
        // Another description of the same, since others have that one too and may want to wait.
        let own = Glibc.open("/proc/self/fd/1", flags)
        return own >= 0 ? own : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
    }

    deinit { close(descriptor) }

    /// What a full disk or a full pipe does not take is lost: answering is worth more.
    func append(_ lines: [UInt8]) {
        lines.withUnsafeBytes { lines in
            guard isPipe else { return put(lines) }
            // A pipe takes so much as one piece, and none of what it has no room for.
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
            append(byte, to: &text)
        }
    }

    private static func append(_ byte: UInt8, to text: inout [UInt8]) {
        if byte >= 0x20, byte < 0x7F, byte != 0x22, byte != 0x5C { return text.append(byte) }
        let digits = String(byte, radix: 16, uppercase: true)
        text.append(contentsOf: (byte < 16 ? "\\x0" : "\\x").utf8)
        text.append(contentsOf: digits.utf8)
    }

    /// `length` is that of the answer's body.
    func add(
        _ peer: String, _ date: UnsafeRawBufferPointer, _ request: [UInt8], _ status: Status,
        _ length: Int
    ) {
        // A Unix socket's name may be anything.
        for byte in peer.utf8 { Self.append(byte, to: &lines) }
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
