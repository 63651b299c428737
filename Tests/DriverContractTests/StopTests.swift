import Glibc
import MillraceEventLoop
import Testing

/// Contract tests of stopping: one answer, no lost byte, and no event until the next receive.
extension DriverContract {
    @Suite struct Stops {
        @Test(
            "repeated stops and receives lose no bytes",
            arguments: DriverKind.allCases, Transport.allCases)
        func stoppingAndResumingLosesNothing(_ kind: DriverKind, _ transport: Transport) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair(transport)
                let size = 4_000_000
                peer.send(pattern(size))
                var stops = 0
                while (session.seen[token]?.bytes.count ?? 0) < size {
                    let before = session.seen[token]?.bytes.count ?? 0
                    session.submit(.receive, token)
                    try session.run(until: "something comes") {
                        (session.seen[token]?.bytes.count ?? 0) > before
                    }
                    session.submit(.stop(.receive), token)
                    stops += 1
                    try session.run(until: "stop \(stops) is answered") {
                        session.seen[token]?.stopCount == stops
                    }
                }
                #expect(mismatch(session.seen[token]?.bytes, pattern(size)) == nil)
                #expect(stops > 1)
            }
        }

        /// After a stop at a full buffer no further bytes are delivered, even with more in the
        /// socket: they were not requested yet.
        @Test(
            "no bytes are delivered after a stop at a full buffer",
            arguments: DriverKind.overAKernel)
        func nothingComesBehindAStopAtAWholeBuffer(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair(.unix)
                peer.send(pattern(1_000_000))
                // Gives the peer time to fill the socket's buffers.
                try session.run(for: 10_000_000)
                session.onCompletion = { completion in
                    guard case .received = completion.event, session.seen[token]?.stopCount == 0
                    else { return }
                    session.submit(.stop(.receive), token)
                    session.onCompletion = nil
                }
                session.submit(.receive, token)
                try session.run(until: "the stop is answered") {
                    session.seen[token]?.stopCount == 1
                }
                #expect(session.seen[token]?.bytes.count == 131_072)
            }
        }

        @Test(
            "no event is delivered between a stop and the next receive",
            arguments: DriverKind.allCases, Transport.allCases)
        func nothingComesWhileStopped(_ kind: DriverKind, _ transport: Transport) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair(transport)
                try stop(token, session)
                peer.send(pattern(10_000))
                peer.shutdownWrite()
                try session.run(for: 50_000_000)
                #expect(session.seen[token]?.events == ["stopped(receive)"])
                session.submit(.receive, token)
                try session.run(until: "the end") { session.seen[token]?.endCount == 1 }
                #expect(mismatch(session.seen[token]?.bytes, pattern(10_000)) == nil)
            }
        }

        @Test(
            "a reset during a stop is reported by the next receive", arguments: DriverKind.allCases)
        func aResetWhileStoppedIsToldWhenResumed(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair()
                try stop(token, session)
                peer.reset()
                try session.run(for: 50_000_000)
                #expect(session.seen[token]?.events == ["stopped(receive)"])
                session.submit(.receive, token)
                try session.run(until: "the reset") { session.seen[token]?.failures.count == 1 }
                #expect(session.seen[token]?.events.last == "failed(receive, ECONNRESET)")
            }
        }

        private func expectNoSpinning(_ session: Session) throws {
            var returns = 0
            let end = session.world.clock + 200_000_000
            while session.world.clock < end {
                try session.world.wait(until: end)
                try session.pullAll()
                returns += 1
            }
            #expect(returns <= 20, "wait returned \(returns) times in 200 ms")
        }

        /// EPOLLHUP cannot be masked, and a token that does not receive must not be notified again
        /// and again.
        @Test(
            "a hang-up while receiving is stopped causes no busy loop",
            arguments: DriverKind.allCases, Transport.allCases)
        func aHangUpWhileStoppedDoesNotSpin(_ kind: DriverKind, _ transport: Transport) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair(transport)
                let (reset, resetter) = try session.makePair(transport)
                let (never, leaver) = try session.makePair(transport)
                try stop(token, session)
                try stop(reset, session)
                peer.send(pattern(1000))
                peer.close()
                resetter.reset()
                leaver.close()
                try expectNoSpinning(session)
                #expect(session.seen[token]?.events == ["stopped(receive)"])
                #expect(session.seen[never]?.events == [])
                session.submit(.receive, token)
                session.submit(.receive, never)
                try session.run(until: "both ends") {
                    session.seen[token]?.endCount == 1 && session.seen[never]?.endCount == 1
                }
                #expect(mismatch(session.seen[token]?.bytes, pattern(1000)) == nil)
            }
        }

        /// The socket stays readable: its end can be read again and again.
        @Test(
            "an end of stream that was reported causes no busy loop",
            arguments: DriverKind.allCases, Transport.allCases)
        func anEndThatWasToldDoesNotSpin(_ kind: DriverKind, _ transport: Transport) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makeEndedPair(transport)
                try expectNoSpinning(session)
                peer.readLimit = .max
                session.send(pattern(1000), token)
                try session.run(until: "the reply") { peer.received.count == 1000 }
                #expect(session.seen[token]?.endCount == 1)
            }
        }

        @Test("a hang-up during a waiting send causes no busy loop", arguments: DriverKind.allCases)
        func aHangUpBehindAWaitingSendDoesNotSpin(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair(smallBuffer: true)
                try stop(token, session)
                session.send(pattern(4_000_000), token)
                try session.run(for: 20_000_000)
                peer.shutdownWrite()
                try expectNoSpinning(session)
                peer.readLimit = .max
                try session.run(until: "the peer has it") { peer.received.count >= 4_000_000 }
                #expect(mismatch(peer.received, pattern(4_000_000)) == nil)
            }
        }

        @Test(
            "a receive that ends by itself reports no stop in addition",
            arguments: DriverKind.allCases)
        func aStreamThatEndsByItselfIsNotStoppedToo(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                for round in 0..<50 {
                    let (token, peer) = try session.makePair()
                    session.submit(.receive, token)
                    if round % 2 == 0 { try session.world.wait(until: session.world.clock) }
                    peer.shutdownWrite()
                    try session.world.wait(until: session.world.clock + 1_000_000)
                    session.submit(.stop(.receive), token)
                    try session.run(until: "a last word") {
                        let seen = session.seen[token]
                        return (seen?.endCount ?? 0) + (seen?.stopCount ?? 0) > 0
                    }
                    try session.run(for: 1_000_000)
                    #expect(session.seen[token]?.events.count == 1, "\(session.summary)")
                }
            }
        }

        @Test(
            "a stop of the receive does not stop a send in flight",
            arguments: DriverKind.allCases, Transport.allCases)
        func aSendInFlightGoesOn(_ kind: DriverKind, _ transport: Transport) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair(transport, smallBuffer: true)
                session.submit(.receive, token)
                session.send(pattern(2_000_000), token)
                try session.run(for: 5_000_000)
                session.submit(.stop(.receive), token)
                try session.run(until: "the stop is answered") {
                    session.seen[token]?.stopCount == 1
                }
                try session.run(for: 5_000_000)
                #expect(session.isSending(token))
                peer.readLimit = .max
                try session.run(until: "the peer has it") { peer.received.count >= 2_000_000 }
                #expect(session.seen[token]?.failures.isEmpty == true)
                #expect(mismatch(peer.received, pattern(2_000_000)) == nil)
            }
        }

        private func stop(_ token: Token, _ session: Session) throws {
            session.submit(.receive, token)
            try session.run(for: 1_000_000)
            session.submit(.stop(.receive), token)
            try session.run(until: "the stop is answered") { session.seen[token]?.stopCount == 1 }
        }
    }
}
