// What must come out even: who lives, what was promised, and what was found to be wrong.
import Glibc

/// Things whose end is counted: what a program hands to the library must go when it is done with.
enum Kind: String, CaseIterable {
    case handler, variable, context, capture
}

final class Alive: Sendable {
    static let counters: [Kind: Counter] = Dictionary(
        uniqueKeysWithValues: Kind.allCases.map { ($0, Counter()) })

    private let kind: Kind

    init(_ kind: Kind) {
        self.kind = kind
        Self.counters[kind]?.add()
    }

    deinit { Self.counters[kind]?.add(-1) }
}

/// A closure given to the library, and how often it was told.
final class Promise: Sendable {
    enum Kind: String, CaseIterable {
        case connect, sent, run, awaitedConnect, awaitedSend
        /// At most once: not at all after a close.
        case offload, execute, adopt, timer

        var least: Int {
            switch self {
            case .connect, .sent, .run, .awaitedConnect, .awaitedSend: 1
            case .offload, .execute, .adopt, .timer: 0
            }
        }
    }

    let kind: Kind
    let context: String
    private let told = Counter()

    init(_ kind: Kind, _ context: String) {
        self.kind = kind
        self.context = context
    }

    func tell() { told.add() }
    var times: Int { told.current }
    var isKept: Bool { (kind.least...1).contains(times) }
}

/// What the whole run has counted, and the first of what went wrong.
final class Ledger: Sendable {
    let counts = Locked<[String: Int]>([:])
    private let violations = Locked<[String]>([])

    func count(_ what: String, _ amount: Int = 1) {
        counts.withLock { $0[what, default: 0] += amount }
    }

    func violation(_ what: String) {
        violations.withLock { $0.append(what) }
    }

    var found: [String] { violations.withLock { $0 } }
}

/// How many descriptors the process has.
func openDescriptors() -> Int { names(in: "/proc/self/fd").count }

/// What the newest of them are.
func newestDescriptors(_ count: Int) -> [String] {
    names(in: "/proc/self/fd").compactMap { Int($0) }.sorted().suffix(max(0, count)).map { number in
        var target = [UInt8](repeating: 0, count: 200)
        let length = target.withUnsafeMutableBytes {
            readlink("/proc/self/fd/\(number)", $0.baseAddress!, $0.count)
        }
        return "\(number) \(String(decoding: target.prefix(max(0, length)), as: UTF8.self))"
    }
}

/// Threads of the library, and of this program beside the one that asks.
func threads(named prefix: String) -> Int {
    names(in: "/proc/self/task").count { task in
        let descriptor = open("/proc/self/task/\(task)/comm", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var name = [UInt8](repeating: 0, count: 32)
        let count = read(descriptor, &name, name.count)
        return String(decoding: name.prefix(max(0, count)), as: UTF8.self).hasPrefix(prefix)
    }
}

private func names(in folder: String) -> [String] {
    guard let directory = opendir(folder) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if !name.hasPrefix(".") { names.append(name) }
    }
    return names
}
