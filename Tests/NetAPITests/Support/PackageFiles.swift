/// The package's own files, found from this one.
import Glibc

enum PackageFiles {
    /// Three folders up from `Tests/NetAPITests/Support`.
    static let root: String = {
        var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        parts.removeLast(4)
        return parts.joined(separator: "/")
    }()

    static func read(_ path: String) throws -> String {
        guard let text = readText("\(root)/\(path)") else { throw SystemFailure("read \(path)") }
        return text
    }
}
