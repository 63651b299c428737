/// Paths and abstract names that no other test, and no other run, uses.
import Glibc
import Synchronization

public enum TemporaryPath {
    private static let counter = Atomic(0)

    public static func make(_ kind: String = "socket", in folder: String = "/tmp") -> String {
        let number = counter.add(1, ordering: .relaxed).newValue
        return "\(folder)/millrace-\(getpid())-\(number).\(kind)"
    }

    /// An abstract name, without the leading zero that the kernel expects.
    public static func abstractName() -> String { String(make().dropFirst("/tmp/".count)) }

    public static func exists(_ path: String) -> Bool { kind(of: path) != nil }

    /// The kind that lstat(2) reports: a link is not followed.
    public static func kind(of path: String) -> FileKind? {
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

    /// Creates a file that contains `text`.
    public static func write(_ text: String, to path: String) throws {
        try write(Array(text.utf8), to: path)
    }

    public static func write(_ bytes: [UInt8], to path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SystemFailure("open \(path)") }
        defer { close(descriptor) }
        let count = Glibc.write(descriptor, bytes, bytes.count)
        guard count == bytes.count else { throw SystemFailure("write \(path)") }
    }
}

public enum FileKind: Sendable {
    case socket
    case regular
    case directory
    case link
    case pipe
    case other
}
