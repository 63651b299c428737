/// The datagrams of a connected socket that came in a pause, in order: the driver had received them
/// before it stopped. On epoll they are the rest of a batch of at most 64.
final class KeptDatagrams {
    @exclusivity(unchecked) private var queue = Fifo<[UInt8]>()
    /// Their bytes, and the fixed cost of each.
    @exclusivity(unchecked) private var size = 0

    var isEmpty: Bool { queue.isEmpty }

    /// Copies a datagram. False above `limit`, which one datagram alone may exceed. A driver's
    /// batch is larger only if the kernel has merged datagrams.
    func keep(_ bytes: UnsafeRawBufferPointer, atMost limit: Int) -> Bool {
        let cost = bytes.count + OutboundQueue.datagramCost
        guard isEmpty || size <= limit - cost else { return false }
        queue.append(Array(bytes))
        size += cost
        return true
    }

    func take() -> [UInt8]? {
        guard let bytes = queue.popFirst() else { return nil }
        size -= bytes.count + OutboundQueue.datagramCost
        return bytes
    }
}
