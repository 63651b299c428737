import Glibc

/// What a turn's callbacks want to send by one socket: copied, and handed to the kernel together.
///
/// A datagram socket never waits for its peer, so there is nothing to keep: what the kernel does
/// not take now is dropped and counted, as the network would.
final class DatagramOutbox {
    private let memory: UnsafeMutableRawPointer
    private let entries: UnsafeMutablePointer<OutgoingDatagram>
    @exclusivity(unchecked) private(set) var count = 0
    @exclusivity(unchecked) private var used = 0

    /// What one call to the kernel takes.
    static let most = 64
    /// Four of the largest, or 64 of 4 KiB.
    static let capacity = 262_144

    /// Whether neighbours of one size and receiver go as one message.
    @exclusivity(unchecked) private var bundles: Bool
    /// How those go that are not to be bundled.
    private let single: DatagramForm

    /// Of a socket that is bound to every address, names may have sources behind them.
    init(bundles: Bool, hasSources: Bool) {
        self.bundles = bundles
        single = hasSources ? .sourced : .plain
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
        let (size, nameSize) = (bytes.count, name.count)
        guard count < Self.most, size &+ nameSize <= Self.capacity &- used,
            let source = name.baseAddress
        else { return false }
        let start = memory + used
        start.copyMemory(from: source, byteCount: nameSize)
        (entries + count).initialize(
            to: OutgoingDatagram(
                bytes: UnsafeRawBufferPointer(start: start + nameSize, count: size),
                name: UnsafeRawBufferPointer(start: start, count: nameSize)))
        used &+= size &+ nameSize
        count &+= 1
        if let source = bytes.baseAddress {
            (start + nameSize).copyMemory(from: source, byteCount: size)
        }
        return true
    }

    /// What became of the datagrams.
    struct Flushed {
        var bytes = 0
        var sent = 0
        var dropped = 0
        var bundles = 0
        var refusedBundles = 0
    }

    /// Sends everything.
    func flush(_ sockets: any Sockets, on descriptor: Descriptor) -> Flushed {
        var (result, place, retries) = (Flushed(), 0, 0)
        // Which one was refused last.
        var refusedPlace = -1
        // Those of a refused bundle go one by one.
        var plainEnd = 0
        while place < count {
            let isPlain = !bundles || place < plainEnd
            let end = place < plainEnd ? plainEnd : count
            let part = UnsafeBufferPointer(start: entries + place, count: end - place)
            let outcome = sockets.send(part, on: descriptor, isPlain ? single : .bundled)
            for entry in part.prefix(outcome.count) { result.bytes += entry.bytes.count }
            place += outcome.count
            result.sent += outcome.count
            result.bundles += outcome.bundles
            guard outcome.count == 0 else { continue }
            let error = outcome.error
            if outcome.refused > 1 && DatagramError.forbidsBundles(error) {
                result.refusedBundles += 1
                plainEnd = place + outcome.refused
                // The device's answer, which will be the same next time; others depend on the
                // receiver and on the size.
                if error == EIO { bundles = false }
                continue
            }
            let mayBeOldNews = DatagramError.isOldNews(error)
            // Its address has gone since it was asked there; the routes may still know a way.
            if DatagramError.refusesSource(error), refusedPlace == place || !mayBeOldNews,
                let other = entries[place].withoutSource
            {
                entries[place] = other
                continue
            }
            refusedPlace = place
            // News of an earlier datagram stands in the way once; then this one has its own turn.
            if mayBeOldNews && retries < Self.most {
                retries += 1
                continue
            }
            if error == EAGAIN || error == ENOBUFS {
                result.dropped += count - place
                break
            }
            result.dropped += 1
            place += 1
        }
        count = 0
        used = 0
        return result
    }
}
