import Glibc
import MillraceEventLoop

/// The events of one token.
struct Seen {
    private(set) var bytes: [UInt8] = []
    /// Event descriptions; several `received` in a row are one.
    private(set) var events: [String] = []
    private(set) var accepted: [Descriptor] = []
    private(set) var failures: [(kind: OperationKind, error: SystemError)] = []
    private(set) var datagrams: [[UInt8]] = []
    private(set) var answers = 0
    private(set) var sentCount = 0
    private(set) var endCount = 0
    private(set) var stopCount = 0
    private(set) var closedCount = 0

    mutating func note(_ event: Event) {
        switch event {
        case .accepted(let descriptor):
            accepted.append(descriptor)
            add("accepted")
        case .received(let start, let count):
            bytes += UnsafeRawBufferPointer(start: start, count: count)
            if events.last != "received" { add("received") }
        case .endOfStream:
            endCount += 1
            add("endOfStream")
        case .datagram(let datagram):
            datagrams.append(Array(datagram.pointee.bytes))
            add("datagram")
        case .connected: add("connected")
        case .sent(let count):
            sentCount += count
            answers += 1
            add("sent(\(count))")
        case .stopped(let kind):
            stopCount += 1
            add("stopped(\(kind))")
        case .hungUp(let number):
            add(number == 0 ? "hungUp" : "hungUp(\(SystemError(number, "").name))")
        case .closed:
            closedCount += 1
            add("closed")
        case .failed(let kind, let error):
            failures.append((kind, error))
            add("failed(\(kind), \(error.name))")
        }
    }

    private mutating func add(_ event: String) { events.append(event) }

    var summary: String {
        "\(bytes.count) bytes, \(events.count) events, the last \(events.suffix(12))"
    }
}

/// Bytes to send, in memory of their own until the last answer.
struct Outbox {
    private let memory: UnsafeMutableRawBufferPointer
    private var offset = 0
    private let isRepeated: Bool
    private(set) var isOver = false

    init(_ bytes: [UInt8], isRepeated: Bool) {
        memory = .allocate(byteCount: bytes.count, alignment: 16)
        memory.copyBytes(from: bytes)
        self.isRepeated = isRepeated
    }

    var all: UnsafeRawBufferPointer { UnsafeRawBufferPointer(memory) }

    /// The bytes not sent yet; nil when sending is over.
    var rest: UnsafeRawBufferPointer? {
        isOver ? nil : UnsafeRawBufferPointer(rebasing: all[offset...])
    }

    mutating func note(_ event: Event) {
        switch event {
        case .sent(let count):
            offset += count
            isOver = !isRepeated || offset == memory.count
        case .failed(.send, _), .closed: isOver = true
        default: break
        }
    }

    /// Overwrites the memory first: a driver that still reads it sends wrong bytes, and the test
    /// fails.
    func free() {
        if let start = memory.baseAddress { memset(start, 0xDD, memory.count) }
        memory.deallocate()
    }
}
