import Glibc

/// What a turn's callbacks want to send by one socket: copied, and handed to the kernel together.
///
/// A datagram socket never waits for its peer, so there is nothing to keep: what the kernel does
/// not take now is dropped and counted, as the network would.
final class DatagramOutbox {
    private let memory: UnsafeMutableRawPointer
    private let entries: UnsafeMutablePointer<OutgoingDatagram>
    private(set) var count = 0
    private var used = 0

    /// What one call to the kernel takes.
    static let most = 64
    /// Four of the largest, or 64 of 4 KiB.
    static let capacity = 262_144

    init() {
        memory = .allocate(byteCount: Self.capacity, alignment: 16)
        entries = .allocate(capacity: Self.most)
    }

    deinit {
        memory.deallocate()
        entries.deallocate()
    }

    var isEmpty: Bool { count == 0 }

    /// False if it has to be sent first.
    func append(_ bytes: UnsafeRawBufferPointer, to name: UnsafeRawBufferPointer) -> Bool {
        guard count < Self.most, used + bytes.count + name.count <= Self.capacity else {
            return false
        }
        let entry = OutgoingDatagram(bytes: copy(bytes), name: copy(name))
        (entries + count).initialize(to: entry)
        count += 1
        return true
    }

    private func copy(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        let start = memory + used
        if let source = bytes.baseAddress { start.copyMemory(from: source, byteCount: bytes.count) }
        used += bytes.count
        return UnsafeRawBufferPointer(start: start, count: bytes.count)
    }

    /// Sends everything; returns how many bytes left and how many datagrams were dropped.
    func flush(_ sockets: any Sockets, on descriptor: Descriptor) -> (bytes: Int, dropped: Int) {
        var (place, dropped, bytes) = (0, 0, 0)
        var retries = 0
        while place < count {
            let rest = UnsafeBufferPointer(start: entries + place, count: count - place)
            let (sent, error) = sockets.send(rest, on: descriptor)
            for entry in rest.prefix(sent) { bytes += entry.bytes.count }
            place += sent
            guard sent == 0 else { continue }
            // News of an earlier datagram stands in the way once; then this one has its own turn.
            if DatagramError.isPassing(error) && error != EMSGSIZE && retries < Self.most {
                retries += 1
                continue
            }
            if error == EAGAIN || error == ENOBUFS {
                dropped += count - place
                break
            }
            dropped += 1
            place += 1
        }
        count = 0
        used = 0
        return (bytes, dropped)
    }
}
