// One conversation: the bytes that its two ends wrote and were shown, joined by the number in its
// first bytes. Both ends are in this process, so that their accounts can be compared.
import NetAPI
import TestSupport

/// One direction of a conversation.
final class Flow: Sendable {
    /// The number of bytes that the writer has certainly written; `most` adds those that it may
    /// have written.
    let least = Counter()
    let most = Counter()
    let shown = Counter()
    /// Set when the reader has seen an end that was no error.
    let hasEnded = Latch()

    func write(_ count: Int) {
        most.add(count)
        least.add(count)
    }
}

final class Talk: Sendable {
    enum Mode: Sendable, CaseIterable {
        /// The service returns all bytes.
        case echo
        /// Like `echo`, but in pieces of 64 bytes and through another thread.
        case work
        /// In `source`, only the service sends; in `sink`, only the caller.
        case source, sink
        case datagrams
    }

    static let headerSize = 8
    static let magic: UInt32 = 0x5354_5245

    struct Shape: Sendable {
        var mode = Mode.echo
        /// The number of the caller's bytes after the header.
        var request = 0
        /// The servers on the route, with the last one.
        var route: [Address] = []
        /// Whether no side breaks the conversation off, so that it must complete.
        var isCalm = false
        var isUnix = false
        /// The number that selects the ways to read and to write.
        var way = 0
        var serviceEnds = false
    }

    let number: Int
    let key: UInt64
    let shape: Shape
    let visits = Counter()
    let up = Flow()
    let down = Flow()
    /// Set when a server on the route closed before the ends did. Also set when a Unix socket was
    /// reset, since such a socket has no reset.
    let isCut = Latch()
    let isComplete = Latch()
    /// Set when the caller has ended or never connected.
    let isOver = Latch()
    let ends = Shared<[String]>([])

    init(number: Int, key: UInt64, _ shape: Shape) {
        self.number = number
        self.key = key
        self.shape = shape
    }

    var mode: Mode { shape.mode }
    var reply: Int {
        switch mode {
        case .sink: 64
        default: shape.request
        }
    }
    /// The key of the reply. An echo has the key of the request.
    var replyKey: UInt64 { mode == .echo || mode == .work ? key : key &+ 777 }
    /// The number of bytes that the caller sends after the header.
    var request: Int { mode == .source ? 0 : shape.request }

    var header: [UInt8] {
        withUnsafeBytes(of: (Self.magic.bigEndian, UInt32(number).bigEndian)) { Array($0) }
    }

    func note(_ end: String) { ends.update { $0.append(end) } }

    var summary: String {
        let shape = shape
        return "talk \(number) (\(shape.mode) way \(shape.way) of \(shape.request) bytes, "
            + "by \(shape.route.map(\.description).joined(separator: " and "))"
            + "\(shape.isCalm ? ", calm" : "")): "
            + "up \(up.least.current)...\(up.most.current) shown \(up.shown.current)"
            + "\(up.hasEnded.isSet ? " to its end" : ""), "
            + "down \(down.least.current)...\(down.most.current) shown \(down.shown.current)"
            + "\(down.hasEnded.isSet ? " to its end" : "")"
            + "\(isCut.isSet ? ", cut" : ""); "
            + "\(visits.current) visits; \(ends.update { $0.joined(separator: ", ") })"
    }

    /// Returns the faults of the conversation. Called after both ends have closed.
    func faults() -> [String] {
        guard mode != .datagrams else { return [] }
        var faults: [String] = []
        for (name, flow) in [("up", up), ("down", down)] {
            if flow.shown.current > flow.most.current {
                faults.append("\(name): more was shown than written")
            }
            if flow.hasEnded.isSet, !isCut.isSet, flow.shown.current < flow.least.current {
                faults.append("\(name): a clean end, and not all was shown")
            }
        }
        return faults.map { "\($0): \(summary)" }
    }
}
