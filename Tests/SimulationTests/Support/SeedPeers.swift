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

    /// True if it reads until the end, so that it must receive every byte.
    var isPolite: Bool { ending == .halfClose || ending == .wait }

    static func connect(
        _ index: Int, to address: SocketAddress, on network: SimulatedNetwork,
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
        peer.send(Array(PeerPattern.bytes(index, count: total)))
        let delay = random.within(Nanoseconds(0)...200_000_000)
        switch ending {
        case .halfClose: peer.shutdownWrite()
        case .wait: break
        case .close: peer.after(delay) { $0.close() }
        case .reset: peer.after(delay) { $0.reset() }
        case .drip:
            let pause = random.within(Nanoseconds(1_000_000)...60_000_000)
            drip(peer, index, total..<total + mostDrips, every: pause)
        }
        // A real client closes when the server has ended.
        peer.onInput = { peer in if peer.sawEndOfStream { peer.shutdownWriteIfNeeded(ending) } }
        let all = ending == .drip ? total + mostDrips : total
        return SeedPeer(peer: peer, ending: ending, total: all)
    }

    /// Enough for twice the server's linger time; a stop waits longer for a peer that still sends.
    private static let mostDrips = 60

    private static func drip(
        _ peer: Peer, _ index: Int, _ places: Range<Int>, every pause: Nanoseconds
    ) {
        guard let place = places.first else { return }
        peer.after(pause) { peer in
            guard !peer.isOver else { return }
            peer.send(Array(PeerPattern.bytes(index, from: place, count: 1)))
            drip(peer, index, places.dropFirst(), every: pause)
        }
    }
}

extension Peer {
    fileprivate func shutdownWriteIfNeeded(_ ending: SeedPeer.Ending) {
        if ending == .wait && state == .connected { shutdownWrite() }
    }
}
