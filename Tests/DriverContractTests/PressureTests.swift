import Glibc
import MillraceEventLoop
import MillraceSimulation
import MillraceTestSupport
import Testing

/// Contract tests of shortage: resources that a driver shares among its tokens run out, and
/// recover.
extension DriverContract {
    @Suite struct Pressure {
        /// All tokens at once, repeatedly: buffers and queues run out in every turn.
        @Test(
            "all tokens receive all bytes under load and an idle driver rarely enters the kernel",
            arguments: DriverKind.allCases)
        func allGetEverythingAndThenItIsQuiet(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let pairs = try (0..<150).map { _ in try session.makePair() }
                let size = 40_000
                for (token, _) in pairs { session.submit(.receive, token) }
                for part in 0..<4 {
                    for (token, peer) in pairs {
                        peer.send(pattern(size / 4, from: Int(token.slot) + part * size / 4))
                    }
                    try session.run(until: "part \(part) has come") {
                        pairs.allSatisfy {
                            session.seen[$0.token]?.bytes.count == size / 4 * (part + 1)
                        }
                    }
                }
                for (token, _) in pairs {
                    let expected = pattern(size, from: Int(token.slot))
                    #expect(mismatch(session.seen[token]?.bytes, expected) == nil)
                }
                try expectQuiet(session)
            }
        }

        /// With few completions pulled between two waits, received data holds all buffers. A
        /// receive without a buffer fails at once, and an immediate retry would spin.
        @Test(
            "a receive without a free buffer does not retry in a busy loop",
            arguments: DriverKind.allCases)
        func whoWaitsForABufferDoesNotTryInVainAllTheTime(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let pairs = try (0..<100).map { _ in try session.makePair() }
                for (token, peer) in pairs {
                    session.submit(.receive, token)
                    peer.send([1])
                }
                session.world.pause(5_000_000)
                let before = session.driver.counters.bufferStarvations.current
                let deadline = Deadline()
                while pairs.contains(where: { session.seen[$0.token]?.bytes.isEmpty == true }) {
                    try deadline.check(session.summary)
                    try session.world.wait(until: session.world.clock + 2_000_000)
                    session.pull()
                }
                let tries = session.driver.counters.bufferStarvations.current - before
                #expect(tries <= 3 * pairs.count, "\(tries) receives found no buffer")
            }
        }

        /// A queue that overflows may end the multishot operation behind the driver's waker.
        @Test(
            "a waker works after more completions than a queue holds",
            arguments: DriverKind.allCases)
        func aWakerSurvivesMoreCompletionsThanAQueueHolds(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let listener = try session.listen()
                let acceptor = session.attach(listener)
                session.submit(.accept, acceptor)
                try session.run(for: 2_000_000)
                for round in 1...3 {
                    for _ in 0..<150 { _ = try session.connect(to: listener) }
                    session.driver.waker.wake()
                    try session.run(until: "round \(round) is accepted") {
                        session.seen[acceptor]?.accepted.count == 150 * round
                    }
                    try session.run(for: 4_000_000)
                    session.driver.waker.wake()
                    try session.waitUntilEnded(by: "wake-up")
                }
                session.seen[acceptor]?.accepted.forEach { session.sockets.discard($0) }
            }
        }

        @Test(
            "operations in any order leave no open descriptor and no lost buffer",
            arguments: DriverKind.allCases)
        func anyOrderLeavesNothingBehind(_ kind: DriverKind) throws {
            let (before, after) = try withOwnDescriptors(kind) { session in
                _ = try session.listen()
                try session.run(for: 1_000_000)
                let before = openDescriptorCount()
                for seed in 0..<20 as Range<UInt64> { try interleave(100, seed, session) }
                let after = openDescriptorCount()
                // A pool that lost its buffers would have none for these receives.
                let pairs = try (0..<20).map { _ in try session.makePair() }
                for (token, peer) in pairs {
                    session.submit(.receive, token)
                    peer.send(pattern(1000))
                }
                try session.run(until: "all hear again") {
                    pairs.allSatisfy { session.seen[$0.token]?.bytes.count == 1000 }
                }
                return (before, after)
            }
            #expect(before == after)
        }

        private struct Opened {
            let token: Token
            let peer: any TestPeer
            var isReceiving = true
            var peerHasEnded = false
        }

        /// Submits operations in an order that the seed decides, while peers send, read, end and
        /// reset.
        private func interleave(_ count: Int, _ seed: UInt64, _ session: Session) throws {
            var random = SeededRandom(seed: seed)
            var open: [Opened] = []
            for _ in 0..<count {
                if open.count < 8 {
                    let (token, peer) = try session.makePair(smallBuffer: random.below(2) == 0)
                    session.submit(.receive, token)
                    open.append(Opened(token: token, peer: peer))
                }
                let place = random.below(open.count)
                if act(&open[place], &random, session) { open.remove(at: place) }
                if random.below(3) == 0 { try session.run(for: 200_000) }
            }
            for one in open { session.submit(.close, one.token) }
            try session.run(until: "all are closed") {
                session.seen.values.allSatisfy { $0.closedCount == 1 }
            }
            session.forgetPeers()
        }

        /// Returns true if it closed the token.
        private func act(
            _ one: inout Opened, _ random: inout SeededRandom, _ session: Session
        ) -> Bool {
            let token = one.token
            let seen = session.seen[token]
            let isOver = (seen?.endCount ?? 0) > 0 || seen?.failures.isEmpty == false
            switch random.below(8) {
            case 0 where !one.peerHasEnded, 1 where !one.peerHasEnded:
                one.peer.send(pattern(random.within(1...200_000)))
            case 2 where !session.isSending(token) && !isOver:
                session.send(pattern(random.within(1...300_000)), token)
            case 3 where one.isReceiving && !isOver:
                session.submit(.stop(.receive), token)
                one.isReceiving = false
            case 4: one.peer.readLimit = .max
            case 5 where !one.peerHasEnded:
                one.peerHasEnded = true
                if random.below(2) == 0 { one.peer.shutdownWrite() } else { one.peer.reset() }
            case 6, 7:
                session.submit(.close, token)
                if random.below(2) == 0 && !one.peerHasEnded { one.peer.close() }
                return true
            default: break
            }
            return false
        }

        private func expectQuiet(_ session: Session) throws {
            let entries = session.driver.counters.kernelEntries.current
            let end = session.world.clock + 200_000_000
            while session.world.clock < end {
                try session.world.wait(until: end)
                try session.pullAll()
            }
            let count = session.driver.counters.kernelEntries.current - entries
            #expect(count <= 20, "entered the kernel \(count) times in 200 idle ms")
        }
    }
}
