/// One direction of a stream: bytes in order, bounded, and then perhaps the end.
struct BytePipe {
    var capacity: Int
    /// Nothing will follow what is in the pipe.
    var isEnded = false
    private var bytes: [UInt8] = []
    private var head = 0

    init(capacity: Int) { self.capacity = capacity }

    var count: Int { bytes.count - head }
    var room: Int { max(0, capacity - count) }

    /// How many it took.
    mutating func append(_ more: UnsafeRawBufferPointer) -> Int {
        let taken = min(room, more.count)
        bytes.append(contentsOf: more.prefix(taken))
        return taken
    }

    mutating func take(atMost limit: Int) -> [UInt8] {
        let taken = Array(bytes[head..<(head + min(limit, count))])
        drop(taken.count)
        return taken
    }

    mutating func drop(_ dropped: Int) {
        head += dropped
        // Half of the storage at a time, so that a long stream costs no more than its bytes.
        if head * 2 >= bytes.count {
            bytes.removeFirst(head)
            head = 0
        }
    }

    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        bytes.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[head...])) }
    }
}
