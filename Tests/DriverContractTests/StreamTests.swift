import Glibc
import MillraceEventLoop
import Testing

/// Contract tests of receiving: bytes in order, then the end or a reset, once.
extension DriverContract {
    @Suite struct Streams {
        /// Sends received bytes back, one send at a time.
        private func echo(_ session: Session) {
            var waiting: [Token: [UInt8]] = [:]
            session.onCompletion = { completion in
                let token = completion.token
                if let bytes = completion.event.receivedBytes {
                    waiting[token, default: []] += bytes
                }
                guard !session.isSending(token), let bytes = waiting[token], !bytes.isEmpty else {
                    return
                }
                waiting[token] = []
                session.send(bytes, token)
            }
        }

        @Test(
            "an echo receives and sends all bytes in order",
            arguments: DriverKind.allCases, Transport.allCases)
        func bytesComeInOrderAndGoBackInOrder(_ kind: DriverKind, _ transport: Transport) throws {
            try withSession(kind) { session in
                echo(session)
                var pairs: [(token: Token, peer: any TestPeer)] = []
                for _ in 0..<5 { pairs.append(try session.makePair(transport)) }
                let sizes = [1, 100, 65_536, 300_000, 1_000_000]
                for ((token, peer), size) in zip(pairs, sizes) {
                    session.submit(.receive, token)
                    peer.readLimit = .max
                    peer.send(pattern(size))
                }
                try session.run(until: "all is echoed") {
                    zip(pairs, sizes).allSatisfy { $0.peer.received.count >= $1 }
                }
                for ((token, peer), size) in zip(pairs, sizes) {
                    #expect(mismatch(peer.received, pattern(size)) == nil)
                    #expect(mismatch(session.seen[token]?.bytes, pattern(size)) == nil)
                }
            }
        }

        /// Until input is pulled, `mayHoldInput` or `hasUnread` is true.
        @Test(
            "input that has arrived shows in mayHoldInput or hasUnread until it is pulled",
            arguments: DriverKind.allCases, Transport.allCases)
        func inputThatHasComeIsNeverOutOfSight(
            _ kind: DriverKind, _ transport: Transport
        ) throws {
            try withSession(kind) { session in
                let listener = try session.listen(transport)
                let peer = try session.connect(to: listener)
                let descriptor = try session.acceptWaiting(on: listener)
                let token = session.attach(descriptor)
                session.submit(.receive, token)
                // Handles the events that came from making the pair.
                try session.run(for: 20_000_000)
                #expect(!session.driver.mayHoldInput)
                peer.send(pattern(10))
                for _ in 0..<50 {
                    peer.takeTurn()
                    try session.world.wait(until: session.world.clock + 2_000_000)
                }
                #expect(session.driver.mayHoldInput || session.sockets.hasUnread(descriptor))
                try session.run(until: "it is told") { session.seen[token]?.bytes.count == 10 }
            }
        }

        /// A driver may receive large messages in another way than small ones.
        @Test(
            "bytes of changing sizes arrive in order, also with stops between them",
            arguments: DriverKind.allCases, Transport.allCases)
        func changingSizesComeInOrder(_ kind: DriverKind, _ transport: Transport) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair(transport)
                let sizes = [
                    300_000, 10, 200, 150_000, 131_072, 1, 700_000, 5, 5, 5, 262_144, 4_000, 40,
                    131_072, 131_072, 3,
                ]
                let all = pattern(sizes.reduce(0, +))
                var (sent, stops) = (0, 0)
                session.submit(.receive, token)
                for (round, size) in sizes.enumerated() {
                    peer.send(Array(all[sent..<sent + size]))
                    sent += size
                    if round % 3 == 2 {
                        session.submit(.stop(.receive), token)
                        stops += 1
                        try session.run(until: "stop \(stops)") {
                            session.seen[token]?.stopCount == stops
                        }
                        session.submit(.receive, token)
                    }
                    try session.run(until: "message \(round)") {
                        session.seen[token]?.bytes.count == sent
                    }
                }
                peer.shutdownWrite()
                try session.run(until: "the end") { session.seen[token]?.endCount == 1 }
                #expect(mismatch(session.seen[token]?.bytes, all) == nil)
            }
        }

        @Test(
            "the end of the stream is reported once and last",
            arguments: DriverKind.allCases, Transport.allCases)
        func endOfStreamComesOnceAndLast(_ kind: DriverKind, _ transport: Transport) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair(transport)
                session.submit(.receive, token)
                peer.send(pattern(200_000))
                peer.shutdownWrite()
                try session.run(until: "the end") { session.seen[token]?.endCount == 1 }
                try session.run(for: 30_000_000)
                let seen = try #require(session.seen[token])
                #expect(mismatch(seen.bytes, pattern(200_000)) == nil)
                #expect(seen.endCount == 1)
                #expect(seen.events.last == "endOfStream")
            }
        }

        /// Both come between two waits, and some kernels handle the two wake-ups of a receive as
        /// one.
        @Test(
            "an end that comes together with bytes is reported",
            arguments: DriverKind.allCases, Transport.allCases)
        func anEndThatComesWithBytes(_ kind: DriverKind, _ transport: Transport) throws {
            try withSession(kind) { session in
                let pairs = try (0..<10).map { _ in try session.makePair(transport) }
                for (token, _) in pairs { session.submit(.receive, token) }
                try session.run(for: 2_000_000)
                for (_, peer) in pairs {
                    peer.send(pattern(123))
                    peer.shutdownWrite()
                }
                try session.run(until: "every end") {
                    pairs.allSatisfy { session.seen[$0.token]?.endCount == 1 }
                }
                for (token, _) in pairs {
                    #expect(mismatch(session.seen[token]?.bytes, pattern(123)) == nil)
                }
            }
        }

        @Test(
            "a socket sends after its peer has ended the stream",
            arguments: DriverKind.allCases, Transport.allCases)
        func afterTheEndSendingGoesOn(_ kind: DriverKind, _ transport: Transport) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makeEndedPair(transport)
                peer.readLimit = .max
                session.send(pattern(500_000), token)
                try session.run(until: "the peer has it") { peer.received.count >= 500_000 }
                #expect(mismatch(peer.received, pattern(500_000)) == nil)
            }
        }

        @Test("a reset is reported once and last", arguments: DriverKind.allCases)
        func aResetComesOnceAndLast(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair()
                session.submit(.receive, token)
                try session.run(for: 2_000_000)
                peer.reset()
                try session.run(until: "the reset") { session.seen[token]?.failures.count == 1 }
                try session.run(for: 30_000_000)
                let seen = try #require(session.seen[token])
                #expect(seen.events == ["failed(receive, ECONNRESET)"])
            }
        }

        @Test(
            "a reset fails both the receive and the send in flight", arguments: DriverKind.allCases)
        func aResetAnswersTheSendInFlightToo(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair(smallBuffer: true)
                session.submit(.receive, token)
                session.send(pattern(4_000_000), token)
                try session.run(for: 20_000_000)
                #expect(session.isSending(token), "the socket took four megabytes")
                peer.reset()
                try session.run(until: "both have ended") {
                    let seen = session.seen[token]
                    let ends =
                        (seen?.endCount ?? 0)
                        + (seen?.failures.count { $0.kind == .receive } ?? 0)
                    return ends == 1 && !session.isSending(token)
                }
                try session.run(for: 30_000_000)
                let failures = session.seen[token]?.failures ?? []
                // The receive and the send fail, the first with ECONNRESET, the other with
                // ECONNRESET or EPIPE.
                #expect(failures.contains { $0.error.number == ECONNRESET }, "\(session.summary)")
                #expect(failures.count { $0.kind == .send } == 1, "\(session.summary)")
                #expect(failures.allSatisfy { [ECONNRESET, EPIPE].contains($0.error.number) })
            }
        }

        @Test("a send to a closed peer fails without a signal", arguments: DriverKind.allCases)
        func sendingToWhoIsGoneFailsWithoutASignal(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair()
                peer.close()
                try session.run(until: "a send fails") {
                    if !session.isSending(token) { session.send([1, 2, 3], token) }
                    return !(session.seen[token]?.failures.isEmpty ?? true)
                }
                let error = try #require(session.seen[token]?.failures.first?.error)
                #expect([EPIPE, ECONNRESET].contains(error.number), "\(error)")
            }
        }
    }
}
