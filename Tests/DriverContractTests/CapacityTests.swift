import MillraceEventLoop
import Testing

/// Contract tests of large numbers: more operations than a queue holds, more tokens than an array
/// of events holds.
extension DriverContract {
    @Suite struct Capacity {
        /// 500 sends and 500 closes before one wait.
        @Test(
            "the driver completes more operations than a queue holds",
            arguments: DriverKind.allCases)
        func moreOperationsThanAQueueHolds(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let senders = try (0..<500).map { _ in try session.makePair() }
                let closers = try (0..<500).map { _ in try session.makePair() }
                for (token, peer) in closers {
                    session.submit(.receive, token)
                    peer.readLimit = .max
                }
                for (token, peer) in senders {
                    peer.readLimit = .max
                    session.send(pattern(100, from: Int(token.slot)), token)
                }
                for (token, _) in closers { session.submit(.close, token) }
                try session.run(until: "all is answered") {
                    senders.allSatisfy { session.seen[$0.token]?.sentCount == 100 }
                        && closers.allSatisfy { session.seen[$0.token]?.closedCount == 1 }
                }
                try session.run(until: "all peers know") {
                    senders.allSatisfy { $0.peer.received.count >= 100 }
                        && closers.allSatisfy { $0.peer.sawEndOfStream }
                }
                for (token, peer) in senders {
                    #expect(mismatch(peer.received, pattern(100, from: Int(token.slot))) == nil)
                }
            }
        }

        @Test(
            "a send and a close before one wait deliver only correct bytes",
            arguments: DriverKind.allCases)
        func aSendAndItsCloseBeforeOneWait(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let pairs = try (0..<500).map { _ in try session.makePair() }
                for (token, peer) in pairs {
                    peer.readLimit = .max
                    session.send(pattern(100), token)
                    session.submit(.close, token)
                }
                try session.run(until: "all are closed") {
                    pairs.allSatisfy { session.seen[$0.token]?.closedCount == 1 }
                }
                try session.run(until: "all peers know") {
                    pairs.allSatisfy { $0.peer.sawEndOfStream || $0.peer.sawReset }
                }
                // The close may run first, and then no byte is sent. Bytes that do arrive are
                // always the right ones.
                #expect(pairs.allSatisfy { $0.peer.received == pattern($0.peer.received.count) })
            }
        }

        @Test(
            "a thousand tokens each receive only the bytes of their own peer",
            arguments: DriverKind.allCases)
        func manyTokensAreKeptApart(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let pairs = try (0..<1000).map { _ in try session.makePair() }
                for (token, peer) in pairs {
                    session.submit(.receive, token)
                    peer.send(pattern(64, from: Int(token.slot)))
                }
                try session.run(until: "all has come") {
                    pairs.allSatisfy { session.seen[$0.token]?.bytes.count == 64 }
                }
                for (token, _) in pairs {
                    #expect(
                        mismatch(session.seen[token]?.bytes, pattern(64, from: Int(token.slot)))
                            == nil)
                }
            }
        }

        /// A token that receives little is served beside tokens whose peers send without end.
        @Test(
            "a token that receives without end does not starve the other tokens",
            arguments: DriverKind.allCases)
        func aLoudTokenDoesNotDrownTheOthers(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let (loud, firehose) = try session.makePair()
                session.submit(.receive, loud)
                let quiet = try (0..<300).map { _ in try session.makePair() }
                for (token, _) in quiet { session.submit(.receive, token) }
                firehose.send([UInt8](repeating: 1, count: 64_000_000))
                try session.run(until: "it is loud") {
                    (session.seen[loud]?.bytes.count ?? 0) > 1_000_000
                }
                for (_, peer) in quiet { peer.send([9]) }
                try session.run(until: "the quiet are heard") {
                    quiet.allSatisfy { session.seen[$0.token]?.bytes == [9] }
                }
                #expect(
                    (session.seen[loud]?.bytes.count ?? 0) < 64_000_000,
                    "they had to wait for the end")
            }
        }
    }
}
