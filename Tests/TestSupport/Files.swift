/// Small files and directories, the kernel's own included.
import Glibc

/// The names in a directory, without the two dots.
public func names(in directory: String) -> [String] {
    guard let stream = opendir(directory) else { return [] }
    defer { closedir(stream) }
    var found: [String] = []
    while let entry = readdir(stream) {
        let name = withUnsafeBytes(of: entry.pointee.d_name) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        if name != "." && name != ".." { found.append(name) }
    }
    return found
}

/// A whole small file, or nil.
public func readText(_ path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = read(descriptor, &piece, piece.count)
        guard count > 0 else { return count == 0 ? String(decoding: bytes, as: UTF8.self) : nil }
        bytes += piece[..<count]
    }
}

/// The resident memory of a process; 0 if there is no such process.
public func residentBytes(of process: pid_t = getpid()) -> Int {
    let numbers = readText("/proc/\(process)/statm")?.split(separator: " ") ?? []
    return (numbers.dropFirst().first.flatMap { Int($0) } ?? 0) * Int(getpagesize())
}

/// The open descriptors in this thread's table, without the one that the call itself uses.
public func openDescriptorCount() -> Int { names(in: "/proc/thread-self/fd").count - 1 }

/// The package's own files, found from this one.
public enum PackageFiles {
    /// The package Examples compiles this file too, by a link in its own folder of tests.
    public static let root: String = {
        let path = #filePath
        let mark = path.firstRange(of: "/Examples/Tests/") ?? path.firstRange(of: "/Tests/")
        return String(path[..<(mark?.lowerBound ?? path.endIndex)])
    }()

    public static func read(_ path: String) throws -> String {
        guard let text = readText("\(root)/\(path)") else { throw SystemFailure("read \(path)") }
        return text
    }
}
