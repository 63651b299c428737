import MillraceEventLoop
import MillraceTestSupport
import Testing

/// Contract tests of pulling: lent bytes do not change, and no completion is lost when pulling
/// pauses.
extension DriverContract {
    @Suite struct Loans {
        @Test("lent bytes do not change before the next pull", arguments: DriverKind.allCases)
        func lentBytesHoldStillUntilTheNextPull(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let pairs = try (0..<8).map { _ in try session.makePair() }
                for (index, (token, peer)) in pairs.enumerated() {
                    session.submit(.receive, token)
                    peer.send(pattern(30_000, from: index * 1000))
                    peer.readLimit = .max
                }
                session.onCompletion = { completion in
                    guard let bytes = completion.event.receivedBytes else { return }
                    let before = Array(bytes)
                    // A handler may send while it reads.
                    for (token, _) in pairs where !session.isSending(token) {
                        session.send(pattern(5000), token)
                    }
                    #expect(before.elementsEqual(bytes), "lent bytes changed under their reader")
                }
                try session.run(until: "all has come") {
                    pairs.allSatisfy { session.seen[$0.token]?.bytes.count == 30_000 }
                }
                for (index, (token, _)) in pairs.enumerated() {
                    #expect(
                        mismatch(session.seen[token]?.bytes, pattern(30_000, from: index * 1000))
                            == nil)
                }
            }
        }

        /// A token with waiting input receives as soon as its receive is submitted, into a buffer
        /// that the driver considers free.
        @Test("lent bytes do not change while other tokens receive", arguments: DriverKind.allCases)
        func lentBytesHoldStillWhileOthersReceive(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair()
                let others = try (0..<6).map { _ in try session.makePair() }
                for (_, other) in others { other.send([UInt8](repeating: 0xEE, count: 5000)) }
                session.submit(.receive, token)
                peer.send(pattern(5000))
                var looks = 0
                session.onCompletion = { completion in
                    guard completion.token == token, let bytes = completion.event.receivedBytes
                    else { return }
                    let before = Array(bytes)
                    if looks == 0 { for (other, _) in others { session.submit(.receive, other) } }
                    looks += 1
                    session.driver.flushSubmissions()
                    #expect(before.elementsEqual(bytes), "lent bytes changed under their reader")
                }
                try session.run(until: "all has come") {
                    session.seen[token]?.bytes.count == 5000
                        && others.allSatisfy { session.seen[$0.token]?.bytes.count == 5000 }
                }
                #expect(mismatch(session.seen[token]?.bytes, pattern(5000)) == nil)
            }
        }

        @Test("a pause in pulling loses no bytes at any point", arguments: DriverKind.allCases)
        func pullingMayPauseAnywhere(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let pairs = try (0..<40).map { _ in try session.makePair() }
                let size = 60_000
                for (index, (token, peer)) in pairs.enumerated() {
                    session.submit(.receive, token)
                    peer.send(pattern(size, from: index * 100))
                    peer.readLimit = .max
                }
                func isDone() -> Bool {
                    pairs.allSatisfy { session.seen[$0.token]?.bytes.count == size }
                }
                let deadline = Deadline()
                var turns = 0
                var budget = 0
                while !isDone() {
                    try deadline.check(session.summary)
                    try session.world.wait(until: session.world.clock + 2_000_000)
                    budget = budget % 5 + 1
                    var pulled = 0
                    while pulled < budget, session.pull() != nil { pulled += 1 }
                    turns += 1
                    let (token, _) = pairs[turns % pairs.count]
                    if !session.isSending(token) { session.send([UInt8(turns % 256)], token) }
                }
                for (index, (token, _)) in pairs.enumerated() {
                    #expect(
                        mismatch(session.seen[token]?.bytes, pattern(size, from: index * 100))
                            == nil)
                }
            }
        }

        @Test(
            "a wait returns at once while completions are left to pull",
            arguments: DriverKind.allCases)
        func aWaitWithCompletionsLeftDoesNotWait(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let pairs = try (0..<20).map { _ in try session.makePair() }
                for (token, peer) in pairs {
                    session.submit(.receive, token)
                    peer.send([1])
                }
                try session.run(until: "the first bytes came") {
                    pairs.allSatisfy { session.seen[$0.token]?.bytes.count == 1 }
                }
                for (_, peer) in pairs { peer.send([2]) }
                session.world.pause(5_000_000)
                let start = session.world.clock
                let most = Nanoseconds(patience)
                while pairs.contains(where: { session.seen[$0.token]?.bytes.count != 2 }) {
                    try session.world.wait(until: start + 8 * most)
                    session.pull()
                    try #require(session.world.clock - start < most, "\(session.summary)")
                }
            }
        }
    }
}
