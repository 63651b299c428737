import MillraceEventLoop

/// An event that owns its bytes, while it waits in a driver to be delivered.
package enum QueuedEvent {
    case accepted(Descriptor)
    case received([UInt8])
    case datagram(DatagramArrival)
    case endOfStream
    case sent(Int)
    case connected
    case stopped(StreamKind)
    case hungUp(Int32)
    case closed
    case failed(OperationKind, SystemError)

    /// Returns the event for the loop; `lend` copies the bytes to memory where they can be read in
    /// place.
    func event(
        lending lend: ([UInt8]) -> UnsafeRawPointer,
        datagram lendDatagram: (DatagramArrival) -> UnsafePointer<ReceivedDatagram>
    ) -> Event {
        switch self {
        case .received(let bytes): .received(lend(bytes), count: bytes.count)
        case .datagram(let arrival): .datagram(lendDatagram(arrival))
        case .accepted(let descriptor): .accepted(descriptor)
        case .endOfStream: .endOfStream
        case .sent(let count): .sent(count)
        case .connected: .connected
        case .stopped(let kind): .stopped(kind)
        case .hungUp(let number): .hungUp(number)
        case .closed: .closed
        case .failed(let kind, let error): .failed(kind, error)
        }
    }
}

/// Completions that have not been pulled, in order.
struct CompletionQueue {
    struct Entry {
        let token: Token
        let event: QueuedEvent
        var isStale = false
        /// The memory of a send, which must not change until this is pulled.
        var memory: SendMemory?
    }

    private var entries: [Entry] = []
    private var head = 0

    var count: Int { entries.count - head }
    var isEmpty: Bool { count == 0 }

    mutating func append(_ entry: Entry) { entries.append(entry) }

    mutating func takeFirst() -> Entry? {
        guard !isEmpty else { return nil }
        defer {
            head += 1
            if head * 2 >= entries.count {
                entries.removeFirst(head)
                head = 0
            }
        }
        return entries[head]
    }

    /// Removes and returns the entries of a token that are not stale.
    mutating func remove(_ token: Token) -> [Entry] {
        let waiting = entries[head...]
        let removed = waiting.filter { $0.token == token && !$0.isStale }
        entries = waiting.filter { $0.token != token || $0.isStale }
        head = 0
        return removed
    }
}
