import CMillraceLinux
import Glibc
internal import MillraceEventLoop

/// Datagrams: one call receives several, and each is delivered as a completion of its own.
extension EpollDriver {
    func completeDatagram(
        _ entry: UnsafeMutablePointer<EpollEntry>, _ token: Token
    ) -> Completion? {
        // One batch per event: the other sockets are served before this socket's next batch.
        for _ in 0..<Self.mostErrors {
            let count = datagrams.receive(from: entry.pointee.descriptor, for: token)
            if count > 0 { return datagrams.next().map { Completion(token, .datagram($0)) } }
            let number = errno
            if count == 0 || number == EAGAIN { return nil }
            // An error of a datagram that was sent earlier and did not arrive, or a signal.
            if DatagramError.isPassing(number) { continue }
            entry.pointee.streams.remove(.datagrams)
            register(entry, token)
            return Completion(token, .failed(.datagrams, SystemError(number, "recvmmsg")))
        }
        // Epoll is level-triggered: the next wait reports the rest again.
        return nil
    }

    /// The number of such errors that are skipped for one event.
    private static var mostErrors: Int { 64 }
}

/// The datagrams of the last recvmmsg that the loop has not pulled. The loop pulls all of them
/// before the next call.
struct DatagramBatch: ~Copyable {
    /// The token of the batch, or `.none` when no datagram and no `stopped` is left to deliver.
    private(set) var owner = Token.none
    /// Whether the stream was stopped while datagrams were left.
    private var isStopping = false
    // Allocated on first use: most servers have no datagrams.
    private var messages: UnsafeMutablePointer<mr_datagram>?
    private var memory: UnsafeMutableRawPointer?
    private var batch: OpaquePointer?
    private let current = UnsafeMutablePointer<ReceivedDatagram>.allocate(capacity: 1)
    private var count = 0
    private var index = 0

    private static let capacity = 64
    /// The bytes for one datagram: one more than the largest, so that no IPv4 datagram looks
    /// truncated.
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

    /// Stops the stream of `token`. Returns true if `stopped` is to be delivered after the
    /// datagrams that are left.
    mutating func stop(_ token: Token) -> Bool {
        guard owner == token else { return false }
        isStopping = true
        return true
    }

    /// Drops the datagrams that are left. Returns true if `stopped` is still to be delivered.
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
