/// Names for Unix sockets and files that no other test, and no other run, uses.
import Glibc

enum TemporaryPath {
    private static let counter = Shared(0)

    static func make(_ kind: String = "socket") -> String {
        let number = counter.update { count in
            count += 1
            return count
        }
        return "/tmp/millrace-\(getpid())-\(number).\(kind)"
    }

    static func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }

    /// Creates a file that contains `text`.
    static func write(_ text: String, to path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SystemFailure("open \(path)") }
        defer { close(descriptor) }
        let count = Glibc.write(descriptor, text, text.utf8.count)
        guard count == text.utf8.count else { throw SystemFailure("write \(path)") }
    }
}
