/// Paths and abstract names that no other test, and no other run, uses.
import Glibc
import Synchronization
import Testing

enum TemporaryPath {
    private static let counter = Atomic(0)

    static func make(_ kind: String = "socket") -> String {
        let number = counter.add(1, ordering: .relaxed).newValue
        return "/tmp/millrace-unit-\(getpid())-\(number).\(kind)"
    }

    /// An abstract name, without the leading zero that the kernel expects.
    static func abstractName() -> String { String(make().dropFirst("/tmp/".count)) }

    /// The kind that lstat(2) reports: a link is not followed.
    static func kind(of path: String) -> FileKind? {
        var status = stat()
        guard lstat(path, &status) == 0 else { return nil }
        return switch status.st_mode & S_IFMT {
        case S_IFSOCK: .socket
        case S_IFREG: .regular
        case S_IFDIR: .directory
        case S_IFLNK: .link
        case S_IFIFO: .pipe
        default: .other
        }
    }

    static func write(_ text: String, to path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        try #require(descriptor >= 0, "open \(path): errno \(errno)")
        defer { close(descriptor) }
        try #require(Glibc.write(descriptor, text, text.utf8.count) == text.utf8.count)
    }

    /// The first 4 KiB; nil if it cannot be opened.
    static func text(of path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = read(descriptor, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }
}

enum FileKind {
    case socket
    case regular
    case directory
    case link
    case pipe
    case other
}
