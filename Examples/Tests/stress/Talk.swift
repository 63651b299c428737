// One conversation: what its two ends have written and were shown, joined by the number that its
// first bytes carry. Both ends are in this process, so that the account of one is held against
// that of the other.
import NetAPI

/// One direction of a conversation.
final class Flow: Sendable {
    /// What its writer has surely handed over, and what of it may have gone.
    let least = Counter()
    let most = Counter()
    let shown = Counter()
    /// The reader was told of an end that was no error.
    let hasEnded = Latch()

    func write(_ count: Int) {
        most.add(count)
        least.add(count)
    }
}

final class Talk: Sendable {
    enum Mode: Sendable, CaseIterable {
        /// What comes goes back.
        case echo
        /// As echo, in pieces of 64 bytes, by way of another thread.
        case work
        /// Only the service speaks, only the caller speaks.
        case source, sink
        case datagrams
    }

    static let headerSize = 8
    static let magic: UInt32 = 0x5354_5245

    struct Shape: Sendable {
        var mode = Mode.echo
        /// Bytes of the caller behind the header.
        var request = 0
        /// Servers on the way, and the last one.
        var route: [Address] = []
        /// Nobody breaks it off: it must end with everything told.
        var isCalm = false
        var isUnix = false
        /// Which of the ways to read and to write.
        var way = 0
        var serviceEnds = false
    }

    let number: Int
    let key: UInt64
    let shape: Shape
    let visits = Counter()
    let up = Flow()
    let down = Flow()
    /// Somebody on the way closed before the ends did, or a Unix socket was reset, which knows no
    /// such thing.
    let isCut = Latch()
    let isComplete = Latch()
    /// The caller is gone, or never came.
    let isOver = Latch()
    let ends = Locked<[String]>([])

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
    /// An echo is what was sent.
    var replyKey: UInt64 { mode == .echo || mode == .work ? key : key &+ 777 }
    /// What the caller sends behind the header.
    var request: Int { mode == .source ? 0 : shape.request }

    var header: [UInt8] {
        withUnsafeBytes(of: (Self.magic.bigEndian, UInt32(number).bigEndian)) { Array($0) }
    }

    func note(_ end: String) { ends.withLock { $0.append(end) } }

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
            + "\(visits.current) visits; \(ends.withLock { $0.joined(separator: ", ") })"
    }

    /// What is wrong with it once everybody has gone.
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
