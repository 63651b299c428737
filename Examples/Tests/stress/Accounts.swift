// Accounts that must be even in the end: living objects, promises, and violations.
import Glibc
import TestSupport

/// Objects whose end is counted: the library must release an object of the program after its last
/// use.
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

/// A closure passed to the library, and the number of its calls.
final class Promise: Sendable {
    enum Kind: String, CaseIterable {
        case connect, sent, run, awaitedConnect, awaitedSend
        /// A call happens at most once, and never after a close.
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

/// The counts of the whole run, and its violations.
final class Ledger: Sendable {
    let counts = Shared<[String: Int]>([:])
    private let violations = Shared<[String]>([])

    func count(_ what: String, _ amount: Int = 1) {
        counts.update { $0[what, default: 0] += amount }
    }

    func violation(_ what: String) {
        violations.update { $0.append(what) }
    }

    var found: [String] { violations.update { $0 } }
}

/// Returns the number of descriptors of the process.
func openDescriptors() -> Int { names(in: "/proc/self/fd").count }

/// Returns the numbers and targets of the newest descriptors.
func newestDescriptors(_ count: Int) -> [String] {
    names(in: "/proc/self/fd").compactMap { Int($0) }.sorted().suffix(max(0, count)).map { number in
        var target = [UInt8](repeating: 0, count: 200)
        let length = target.withUnsafeMutableBytes {
            readlink("/proc/self/fd/\(number)", $0.baseAddress!, $0.count)
        }
        return "\(number) \(String(decoding: target.prefix(max(0, length)), as: UTF8.self))"
    }
}

/// Returns the number of threads whose names begin with `prefix`.
func threads(named prefix: String) -> Int {
    names(in: "/proc/self/task").count { task in
        readText("/proc/self/task/\(task)/comm")?.hasPrefix(prefix) == true
    }
}
