import Glibc

/// The datagrams of a turn's callbacks on one socket: copied, then passed to the kernel together.
///
/// A datagram socket never waits for its peer, so no datagram is kept. Those that the kernel does
/// not accept now are dropped and counted, as a network would drop them.
final class DatagramOutbox {
    private let memory: UnsafeMutableRawPointer
    private let entries: UnsafeMutablePointer<OutgoingDatagram>
    @exclusivity(unchecked) private(set) var count = 0
    @exclusivity(unchecked) private var used = 0

    /// The most datagrams in one call to the kernel.
    static let most = 64
    /// Room for four of the largest datagrams, or 64 of 4 KiB.
    static let capacity = 262_144

    /// Whether consecutive datagrams of one size and receiver form one message.
    @exclusivity(unchecked) private var bundles: Bool
    /// The form of datagrams that are not bundled.
    private let single: DatagramForm

    /// With `hasSources`, for a socket bound to every address, names may include sources.
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

    /// Copies a datagram into the outbox. False if the outbox must be flushed first.
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

    /// The result of a flush.
    struct Flushed: Equatable {
        var bytes = 0
        var sent = 0
        var dropped = 0
        var bundles = 0
        var refusedBundles = 0

        static func += (sum: inout Flushed, other: Flushed) {
            sum.bytes += other.bytes
            sum.sent += other.sent
            sum.dropped += other.dropped
            sum.bundles += other.bundles
            sum.refusedBundles += other.refusedBundles
        }
    }

    /// Sends all datagrams.
    func flush(_ sender: any DatagramSending, on descriptor: Descriptor) -> Flushed {
        var (result, place) = (Flushed(), 0)
        // The index of the datagram that was refused last.
        var refusedPlace = -1
        // Datagrams of a refused bundle, up to this index, are sent one by one.
        var plainEnd = 0
        while place < count {
            let isPlain = !bundles || place < plainEnd
            let end = place < plainEnd ? plainEnd : count
            let part = UnsafeBufferPointer(start: entries + place, count: end - place)
            let outcome = sender.send(part, on: descriptor, isPlain ? single : .bundled)
            for entry in part.prefix(outcome.count) { result.bytes += entry.bytes.count }
            place += outcome.count
            result.sent += outcome.count
            result.bundles += outcome.bundles
            guard outcome.count == 0 else { continue }
            let error = outcome.error
            if outcome.refused > 1 && DatagramError.forbidsBundles(error) {
                result.refusedBundles += 1
                plainEnd = place + outcome.refused
                // EIO is the device's answer, which will be the same next time. Other errors depend
                // on the receiver and the size.
                if error == EIO { bundles = false }
                continue
            }
            let mayBeOldNews = DatagramError.isOldNews(error)
            // The source address is gone, but the routes may still find a way.
            if DatagramError.refusesSource(error), refusedPlace == place || !mayBeOldNews,
                let other = entries[place].withoutSource
            {
                entries[place] = other
                continue
            }
            // An earlier datagram's error can block this one once, so it is tried again.
            if mayBeOldNews && refusedPlace != place {
                refusedPlace = place
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
