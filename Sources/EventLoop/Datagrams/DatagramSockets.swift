/// The datagram sockets of a loop, by listener index, and their datagrams that wait to be sent.
///
/// Knows neither the loop nor the listeners' states. The caller closes a socket here when its
/// listener closes, and counts the results of flushes.
struct DatagramSockets: ~Copyable {
    private struct Socket {
        let descriptor: Descriptor
        /// Bound to every address, so names may include sources.
        let hasSources: Bool
        var isOpen: Bool
    }

    /// One entry for each listener; those of streams are never open.
    private var sockets: [Socket]
    /// Outboxes by the same index, each made with the first datagram to send. Owned, without
    /// reference counting per datagram.
    private var outboxes: [Unmanaged<DatagramOutbox>?]
    /// Whether consecutive datagrams of one size and receiver form one message.
    private let bundles: Bool
    /// Whether datagrams were gathered since the last flush.
    private(set) var hasUnsent = false

    init(_ listeners: [BoundListener], bundles: Bool) {
        sockets = listeners.map {
            Socket(
                descriptor: $0.descriptor, hasSources: $0.address.isWildcard,
                isOpen: $0.isDatagram)
        }
        outboxes = Array(repeating: nil, count: listeners.count)
        self.bundles = bundles
    }

    deinit {
        for outbox in outboxes { outbox?.release() }
    }

    /// Whether `index` is a datagram socket that has not closed.
    func isOpen(_ index: Int) -> Bool { sockets.indices.contains(index) && sockets[index].isOpen }

    /// The descriptor of an open socket. Else nil, since the kernel may have reused the number.
    func descriptor(_ index: Int) -> Descriptor? {
        isOpen(index) ? sockets[index].descriptor : nil
    }

    /// Copies a datagram into the socket's outbox. False if there is none or it has no room; then
    /// `appendFurther` is due.
    @inline(__always)
    mutating func append(
        _ bytes: UnsafeRawBufferPointer, to name: UnsafeRawBufferPointer, socket index: Int
    ) -> Bool {
        guard index < outboxes.count, let outbox = outboxes[index],
            outbox._withUnsafeGuaranteedRef({ $0.append(bytes, to: name) })
        else { return false }
        hasUnsent = true
        return true
    }

    /// For a socket's first datagram, and when the outbox is full: sends the other datagrams then.
    /// Does nothing for a socket that is not open.
    @inline(never)
    mutating func appendFurther(
        _ bytes: UnsafeRawBufferPointer, to name: UnsafeRawBufferPointer, socket index: Int,
        _ sender: any DatagramSending
    ) -> DatagramOutbox.Flushed {
        guard isOpen(index) else { return DatagramOutbox.Flushed() }
        let outbox = outbox(of: index)
        hasUnsent = true
        guard !outbox.append(bytes, to: name) else { return DatagramOutbox.Flushed() }
        var flushed = outbox.flush(sender, on: sockets[index].descriptor)
        // Larger than an empty outbox: no network transports it either.
        if !outbox.append(bytes, to: name) { flushed.dropped += 1 }
        return flushed
    }

    private mutating func outbox(of index: Int) -> DatagramOutbox {
        if let known = outboxes[index] { return known.takeUnretainedValue() }
        let outbox = DatagramOutbox(bundles: bundles, hasSources: sockets[index].hasSources)
        outboxes[index] = .passRetained(outbox)
        return outbox
    }

    /// Sends the datagrams gathered on every socket. The result is the sum.
    @inline(never)
    mutating func flush(_ sender: any DatagramSending) -> DatagramOutbox.Flushed {
        hasUnsent = false
        var flushed = DatagramOutbox.Flushed()
        for index in outboxes.indices {
            guard let outbox = outboxes[index] else { continue }
            let descriptor = sockets[index].descriptor
            outbox._withUnsafeGuaranteedRef {
                if !$0.isEmpty { flushed += $0.flush(sender, on: descriptor) }
            }
        }
        return flushed
    }

    /// Ends the use of a socket and drops its datagrams, since the descriptor's number may be
    /// reused. Does nothing for another index.
    mutating func close(_ index: Int) {
        guard isOpen(index) else { return }
        sockets[index].isOpen = false
        outboxes[index]?.release()
        outboxes[index] = nil
    }
}
