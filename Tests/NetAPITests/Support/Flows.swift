/// Many streams at once, driven by one thread with poll(2), so that the server has the machine's
/// cores.
import Glibc
import MillraceTestSupport

/// One client that sends its pattern and checks that the same comes back.
struct Flow {
    let client: TestClient
    let pattern: Pattern
    let length: Int
    /// Ends its side after the last byte, and then expects the server's end.
    var endsAfterSending = false
    /// Sends until the server ends the stream, whenever that is.
    var mayEndEarly = false
    /// The range of the random size of each send.
    var chunks = 65_536...65_536
    var random: SplitMix64
    private(set) var sent = 0
    private(set) var received = 0
    private(set) var end: StreamEnd?
    /// True if the server has ended the stream and accepts no more; its earlier output is still to
    /// be read.
    private(set) var isRefused = false

    var wantsToSend: Bool { sent < length && !isRefused }

    init(_ client: TestClient, stream: Int, length: Int) {
        self.client = client
        self.length = length
        pattern = Pattern(stream: stream)
        random = SplitMix64(seed: UInt64(stream))
    }

    var isDone: Bool {
        if mayEndEarly { return end != nil }
        return received == length && sent == length && (!endsAfterSending || end != nil)
    }

    mutating func sendChunk(_ scratch: UnsafeMutableRawBufferPointer) throws -> Int {
        let size = min(random.size(chunks), length - sent, scratch.count)
        let chunk = UnsafeMutableRawBufferPointer(rebasing: scratch[..<size])
        pattern.fill(chunk, from: sent)
        let count: Int
        do {
            count = try client.sendSome(UnsafeRawBufferPointer(chunk))
        } catch let failure as SystemFailure where mayEndEarly && failure.number == EPIPE {
            isRefused = true
            return 0
        }
        sent += count
        if sent == length && count > 0 && endsAfterSending { client.shutdownWrite() }
        return count
    }

    mutating func receiveChunk(_ scratch: UnsafeMutableRawBufferPointer) throws {
        switch try client.receiveSome(scratch) {
        case .nothingYet: break
        case .bytes(let count):
            let bytes = UnsafeRawBufferPointer(rebasing: scratch[..<count])
            try pattern.verify(bytes, at: received)
            received += count
        case .end(let end):
            self.end = end
            if mayEndEarly { return }
            guard endsAfterSending && end == .clean && received == length else {
                throw EndedEarly(received: received, expected: length, end: end)
            }
        }
    }

    /// Returns a flow that expects only the bytes sent so far.
    func cutHere() -> Flow {
        var flow = Flow(client, stream: Int(pattern.stream), length: sent)
        flow.sent = sent
        flow.received = received
        return flow
    }
}

enum Exchange {
    private static let scratchSize = 300_000

    /// Sends and receives until every flow is done.
    static func run(_ flows: inout [Flow]) throws {
        try poll(&flows, receives: true, quiet: nil)
    }

    /// Only sends, until no byte moved for `quiet` or all are sent: the peers of a flood.
    static func push(_ flows: inout [Flow], untilQuietFor quiet: Duration) throws {
        try poll(&flows, receives: false, quiet: quiet)
    }

    private static func poll(_ flows: inout [Flow], receives: Bool, quiet: Duration?) throws {
        let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: scratchSize, alignment: 16)
        defer { scratch.deallocate() }
        let deadline = Deadline()
        var left = Array(flows.indices)
        while true {
            left.removeAll { receives ? flows[$0].isDone : flows[$0].sent == flows[$0].length }
            if left.isEmpty { return }
            var entries = left.map { entry(flows[$0], receives: receives) }
            let limit = quiet.map { Deadline($0) } ?? deadline
            let ready = Glibc.poll(&entries, nfds_t(entries.count), limit.milliseconds)
            if ready == 0 && quiet != nil { return }
            for (entry, index) in zip(entries, left) where entry.revents != 0 {
                if receives && entry.revents & ~Int16(POLLOUT) != 0 {
                    try flows[index].receiveChunk(scratch)
                }
                if entry.revents & Int16(POLLOUT) != 0 && flows[index].wantsToSend {
                    _ = try flows[index].sendChunk(scratch)
                }
            }
            try deadline.check("\(left.count) of \(flows.count) flows, at \(state(flows, left))")
        }
    }

    private static func entry(_ flow: Flow, receives: Bool) -> pollfd {
        var events: Int16 = 0
        if receives { events |= Int16(POLLIN) }
        if flow.wantsToSend { events |= Int16(POLLOUT) }
        return pollfd(fd: flow.client.descriptor, events: events, revents: 0)
    }

    private static func state(_ flows: [Flow], _ left: [Int]) -> String {
        left.prefix(4).map {
            "\(flows[$0].sent) sent, \(flows[$0].received) of \(flows[$0].length) received"
        }.joined(separator: "; ")
    }
}
