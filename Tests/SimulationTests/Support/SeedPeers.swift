import MillraceEventLoop
import MillraceSimulation

/// A client of a run, with its own plan.
struct SeedPeer {
    enum Ending: CaseIterable {
        /// Ends its side after all bytes are sent, and reads to the end.
        case halfClose
        /// Waits for the server's end, then closes.
        case wait
        /// Closes without reading the rest.
        case close
        case reset
        /// Never ends: sends a byte now and then, whether the server reads or not.
        case drip
    }

    let peer: Peer
    let ending: Ending
    let total: Int
    /// Its bytes are records of a filter.
    let isSecured: Bool

    /// The server's bytes for the peer's program.
    var received: [UInt8] {
        isSecured ? SimulatedRecords.open(peer.received).plain : peer.received
    }

    /// Whether the server's stream looks complete.
    var sawCleanEnd: Bool {
        guard isSecured else { return peer.sawEndOfStream && !peer.sawReset }
        return SimulatedRecords.open(peer.received).hasEnded
    }

    /// The length of its stream, if that has an end.
    var wholeCount: Int { isSecured ? total : peer.sentCount }

    /// Whether a stream looks complete that was cut: only a filter can tell.
    func hasEndOfCutStream(_ account: Account) -> Bool {
        isSecured && sawCleanEnd && received.count < account.written.count && !account.isPiped
    }

    /// True if it reads until the end, so that it must receive every byte.
    var isPolite: Bool { ending == .halfClose || ending == .wait }

    static func connect(
        _ index: Int, to address: SocketAddress, on network: SimulatedNetwork, isSecured: Bool,
        _ random: inout SeededRandom
    ) -> SeedPeer {
        let peer = network.connect(to: address, after: random.within(0...50_000_000))
        let total = random.pick([0, 1, 100, 3_000, 70_000])
        let ending = random.pick(Ending.allCases)
        peer.reading = random.pick([
            .unlimited, .init(bytes: 1_000, every: 100_000), .init(bytes: 65_536, every: 5_000_000),
        ])
        if random.happens(500) {
            peer.writing = .init(
                bytes: 1 + random.below(5_000), every: random.within(0...1_000_000))
        }
        let records = isSecured ? Records() : nil
        if let records { peer.send(records.greeting) }
        let bytes = PeerPattern.bytes(index, count: total)
        if let records, random.happens(500) {
            // Messages in whose middle the server can seal nothing.
            let cut = bytes.startIndex + random.below(total + 1)
            for part in [bytes[..<cut], bytes[cut...]] {
                peer.send(records.aside(random.bytes(random.below(3_000))) + records.data(part))
            }
        } else {
            peer.send(seal(bytes, records))
        }
        if ending == .halfClose, let records { peer.send(records.end) }
        let delay = random.within(Nanoseconds(0)...200_000_000)
        switch ending {
        case .halfClose: peer.shutdownWrite()
        case .wait: break
        case .close: peer.after(delay) { $0.close() }
        case .reset: peer.after(delay) { $0.reset() }
        case .drip:
            let pause = random.within(Nanoseconds(1_000_000)...60_000_000)
            drip(peer, index, total..<total + mostDrips, records, every: pause)
        }
        // A real client closes when the server has ended.
        peer.onInput = { peer in if peer.sawEndOfStream { peer.shutdownWriteIfNeeded(ending) } }
        let all = ending == .drip ? total + mostDrips : total
        return SeedPeer(peer: peer, ending: ending, total: all, isSecured: isSecured)
    }

    private static func seal(_ bytes: ArraySlice<UInt8>, _ records: Records?) -> [UInt8] {
        guard let records else { return Array(bytes) }
        return records.data(bytes)
    }

    /// The records that a peer sends.
    private final class Records {
        private var writer = SimulatedRecords()

        var greeting: [UInt8] { writer.record(.hello) + writer.record(.finished) }
        var end: [UInt8] { writer.record(.end) }

        func aside(_ bytes: [UInt8]) -> [UInt8] { writer.record(.aside, bytes) }

        func data(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
            var rest = bytes
            var wire: [UInt8] = []
            while !rest.isEmpty {
                wire += writer.record(.data, rest.prefix(9_000))
                rest = rest.dropFirst(9_000)
            }
            return wire
        }
    }

    /// Enough for twice the server's linger time; a stop waits longer for a peer that still sends.
    private static let mostDrips = 60

    private static func drip(
        _ peer: Peer, _ index: Int, _ places: Range<Int>, _ records: Records?,
        every pause: Nanoseconds
    ) {
        guard let place = places.first else { return }
        peer.after(pause) { peer in
            guard !peer.isOver else { return }
            peer.send(seal(PeerPattern.bytes(index, from: place, count: 1), records))
            drip(peer, index, places.dropFirst(), records, every: pause)
        }
    }
}

extension Peer {
    fileprivate func shutdownWriteIfNeeded(_ ending: SeedPeer.Ending) {
        if ending == .wait && state == .connected { shutdownWrite() }
    }
}
