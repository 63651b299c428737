import CLinux
internal import EventLoop
import Glibc

/// Datagrams: several are received with one call and handed over one by one.
extension EpollDriver {
    func completeDatagram(
        _ entry: UnsafeMutablePointer<EpollEntry>, _ token: Token
    ) -> Completion? {
        // One call for each report: the other sockets have their turn before this one's next.
        for _ in 0..<Self.mostErrors {
            let count = datagrams.receive(from: entry.pointee.descriptor, for: token)
            if count > 0 { return datagrams.next().map { Completion(token, .datagram($0)) } }
            let number = errno
            if count == 0 || number == EAGAIN { return nil }
            // News of a datagram sent earlier that did not arrive, or a signal.
            if DatagramError.isPassing(number) { continue }
            entry.pointee.streams.remove(.datagrams)
            register(entry, token)
            return Completion(token, .failed(.datagrams, SystemError(number, "recvmmsg")))
        }
        // Level-triggered: the rest is reported again.
        return nil
    }

    /// Pieces of such news that are taken in for one report.
    private static var mostErrors: Int { 64 }
}

/// What the last call received and nobody has pulled yet: pulled to the end before the next call.
struct DatagramBatch: ~Copyable {
    /// Whose datagrams they are, as long as one or the last word is still to be told.
    private(set) var owner = Token.none
    /// The stream was stopped when some were left.
    private var isStopping = false
    // Made when first needed: most servers have no datagrams.
    private var messages: UnsafeMutablePointer<mr_datagram>?
    private var memory: UnsafeMutableRawPointer?
    private var batch: OpaquePointer?
    private let current = UnsafeMutablePointer<ReceivedDatagram>.allocate(capacity: 1)
    private var count = 0
    private var index = 0

    private static let capacity = 64
    /// One more than the largest, so that no datagram of IPv4 looks cut.
    private static let size = 65_536

    deinit {
        messages?.deallocate()
        memory?.deallocate()
        if let batch { UnsafeMutableRawPointer(batch).deallocate() }
        current.deallocate()
    }

    mutating func receive(from descriptor: CInt, for token: Token) -> CInt {
        let received = mr_batch_receive(batch ?? makeBatch(), descriptor)
        count = max(0, Int(received))
        index = 0
        if count > 0 { owner = token }
        return received
    }

    @inline(never)
    private mutating func makeBatch() -> OpaquePointer {
        let messages = UnsafeMutablePointer<mr_datagram>.allocate(capacity: Self.capacity)
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: Self.capacity * Self.size, alignment: 4096)
        let batch = OpaquePointer(
            UnsafeMutableRawPointer.allocate(byteCount: mr_batch_size(), alignment: 16))
        mr_batch_prepare(batch, messages, CInt(Self.capacity), memory, UInt32(Self.size))
        self.messages = messages
        self.memory = memory
        self.batch = batch
        return batch
    }

    /// Of this stream; true if its last word is to be told behind what is left.
    mutating func stop(_ token: Token) -> Bool {
        guard owner == token else { return false }
        isStopping = true
        return true
    }

    /// Drops what is left; true if the last word is still to be told.
    mutating func end() -> Bool {
        defer { isStopping = false }
        owner = .none
        count = 0
        index = 0
        return isStopping
    }

    mutating func next() -> UnsafePointer<ReceivedDatagram>? {
        guard index < count, let messages, let memory else { return nil }
        let message = messages + index
        let sender = UnsafeRawPointer(message) + MemoryLayout<mr_datagram>.offset(of: \.sender)!
        current.initialize(
            to: ReceivedDatagram(
                bytes: UnsafeRawBufferPointer(
                    start: memory + index * Self.size, count: Int(message.pointee.length)),
                sender: UnsafeRawBufferPointer(
                    start: sender, count: Int(message.pointee.sender_length)),
                isTruncated: message.pointee.is_truncated != 0,
                segmentSize: Int(message.pointee.segment_size)))
        index += 1
        if index == count && !isStopping { owner = .none }
        return UnsafePointer(current)
    }
}
