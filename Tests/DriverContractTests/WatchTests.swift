import Glibc
import MillraceEventLoop
import Testing

/// Contract tests of watching: a reset is reported once although no receive is active, and no other
/// event is.
extension DriverContract {
    @Suite struct Watches {
        @Test(
            "a watched socket reports a reset once and keeps the bytes received before it",
            arguments: DriverKind.allCases)
        func aResetIsNoticedOnceAndTheBytesBeforeItAreThere(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let (token, peer) = try makeWatched(session)
                peer.send(pattern(10_000))
                try session.run(for: 20_000_000)
                peer.reset()
                try session.run(until: "the reset is noticed") {
                    session.seen[token]?.events.last == "hungUp(ECONNRESET)"
                }
                try session.run(for: 20_000_000)
                #expect(session.seen[token]?.events == ["stopped(receive)", "hungUp(ECONNRESET)"])
                session.submit(.receive, token)
                try session.run(until: "the end") { session.seen[token]?.endCount == 1 }
                #expect(mismatch(session.seen[token]?.bytes, pattern(10_000)) == nil)
            }
        }

        /// The watch works without an earlier receive, also when the reset came before the watch.
        @Test(
            "a socket that never received reports a reset when it is watched",
            arguments: DriverKind.allCases, [true, false])
        func whoNeverReceivedIsWatchedToo(_ kind: DriverKind, _ isBefore: Bool) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair()
                if isBefore { peer.reset() }
                session.submit(.watch, token)
                if !isBefore { peer.reset() }
                try session.run(until: "the reset is noticed") {
                    session.seen[token]?.events == ["hungUp(ECONNRESET)"]
                }
            }
        }

        @Test(
            "bytes and an end of stream are not reported as a hang-up",
            arguments: DriverKind.allCases, Transport.allCases)
        func bytesAndAnEndAreNoHangUp(_ kind: DriverKind, _ transport: Transport) throws {
            try withSession(kind) { session in
                let (token, peer) = try makeWatched(session, transport)
                peer.send(pattern(1000))
                peer.shutdownWrite()
                try session.run(for: 50_000_000)
                #expect(session.seen[token]?.events == ["stopped(receive)"])
                session.send(pattern(100), token)
                peer.readLimit = .max
                try session.run(until: "sending goes on") { peer.received.count == 100 }
                session.submit(.receive, token)
                try session.run(until: "the end") { session.seen[token]?.endCount == 1 }
                #expect(mismatch(session.seen[token]?.bytes, pattern(1000)) == nil)
            }
        }

        @Test("a receive ends the watch", arguments: DriverKind.allCases)
        func receivingEndsTheWatch(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let (token, peer) = try makeWatched(session)
                session.submit(.receive, token)
                peer.send(pattern(1000))
                try session.run(until: "the bytes") { session.seen[token]?.bytes.count == 1000 }
                peer.reset()
                try session.run(until: "the reset") { session.seen[token]?.failures.count == 1 }
                try session.run(for: 20_000_000)
                let events = session.seen[token]?.events
                #expect(events == ["stopped(receive)", "received", "failed(receive, ECONNRESET)"])
            }
        }

        @Test(
            "a socket that is watched again after a stop reports a reset",
            arguments: DriverKind.allCases)
        func stoppedAndWatchedAgainItIsStillNoticed(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let (token, peer) = try makeWatched(session)
                for round in 2...4 {
                    session.submit(.receive, token)
                    session.submit(.stop(.receive), token)
                    try session.run(until: "stop \(round)") {
                        session.seen[token]?.stopCount == round
                    }
                    session.submit(.watch, token)
                }
                peer.reset()
                try session.run(until: "the reset is noticed") {
                    session.seen[token]?.events.last == "hungUp(ECONNRESET)"
                }
            }
        }

        /// The reset arrives while the bytes before it are received, and the watch follows it.
        @Test(
            "a reset that arrives before the watch is reported too", arguments: DriverKind.allCases)
        func aResetBeforeTheWatchIsNoticedToo(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let (token, peer) = try makeWatched(session)
                peer.send(pattern(250_000))
                try session.run(until: "its host has taken them") { peer.sentCount == 250_000 }
                session.submit(.receive, token)
                peer.reset()
                try session.world.wait(until: session.world.clock + 20_000_000)
                while session.seen[token]?.bytes.isEmpty == true {
                    try session.world.wait(until: session.world.clock + 2_000_000)
                    session.pull()
                }
                session.submit(.stop(.receive), token)
                try session.run(until: "it is stopped, or over") {
                    let seen = session.seen[token]
                    return seen?.stopCount == 2 || (seen?.failures.count ?? 0) > 0
                }
                guard session.seen[token]?.stopCount == 2 else { return }
                session.submit(.watch, token)
                try session.run(until: "the reset is noticed") {
                    session.seen[token]?.events.last == "hungUp(ECONNRESET)"
                }
            }
        }

        @Test(
            "the closed event is the last event of a watched socket", arguments: DriverKind.allCases
        )
        func aCloseIsTheLastWordOfTheWatched(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let pairs = try (0..<20).map { _ in try makeWatched(session) }
                for (token, peer) in pairs {
                    peer.readLimit = .max
                    session.submit(.close, token)
                }
                try session.run(until: "all are closed") {
                    pairs.allSatisfy { session.seen[$0.token]?.closedCount == 1 }
                }
                try session.run(until: "the peers see it") {
                    pairs.allSatisfy { $0.peer.sawEndOfStream }
                }
                for (token, _) in pairs {
                    #expect(session.seen[token]?.events == ["stopped(receive)", "closed"])
                }
            }
        }

        private func makeWatched(
            _ session: Session, _ transport: Transport = .tcp
        ) throws -> (token: Token, peer: any TestPeer) {
            let (token, peer) = try session.makePair(transport)
            session.submit(.receive, token)
            try session.run(for: 1_000_000)
            session.submit(.stop(.receive), token)
            try session.run(until: "it is stopped") { session.seen[token]?.stopCount == 1 }
            session.submit(.watch, token)
            try session.run(for: 1_000_000)
            return (token, peer)
        }
    }
}
