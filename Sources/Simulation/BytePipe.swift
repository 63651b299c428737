/// One direction of a stream: a bounded queue of bytes, and then perhaps the end.
struct BytePipe {
    var capacity: Int
    /// Whether nothing follows the bytes in the pipe.
    var isEnded = false
    private var bytes: [UInt8] = []
    private var head = 0

    init(capacity: Int) { self.capacity = capacity }

    var count: Int { bytes.count - head }
    var room: Int { max(0, capacity - count) }

    /// Appends bytes as far as there is room, and returns their number.
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
        // Frees the storage by halves, so that a long stream has a constant cost per byte.
        if head * 2 >= bytes.count {
            bytes.removeFirst(head)
            head = 0
        }
    }

    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        bytes.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[head...])) }
    }
}
