import MillraceEventLoop
import Testing

/// Contract tests of sending: one send in flight, one answer, every byte in its place.
extension DriverContract {
    @Suite struct Sends {
        @Test("each send is answered once", arguments: DriverKind.allCases, Transport.allCases)
        func eachIsAnsweredOnce(_ kind: DriverKind, _ transport: Transport) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair(transport)
                peer.readLimit = .max
                var sent = 0
                var asked = 0
                while asked < 1000 {
                    let size = 1 + asked % 97
                    let before = session.seen[token]?.sentCount ?? 0
                    session.sendOnce(pattern(size, from: sent), token)
                    asked += 1
                    try session.run(until: "send \(asked) is answered") {
                        !session.isSending(token)
                    }
                    sent += (session.seen[token]?.sentCount ?? 0) - before
                }
                try session.run(until: "the peer has it") { peer.received.count >= sent }
                #expect(session.seen[token]?.answers == asked)
                #expect(mismatch(peer.received, pattern(sent)) == nil)
            }
        }

        @Test(
            "a slow reader receives every byte", arguments: DriverKind.allCases, Transport.allCases)
        func aSlowReaderGetsEveryByte(_ kind: DriverKind, _ transport: Transport) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair(transport, smallBuffer: true)
                let size = 3_000_000
                peer.readLimit = 3000
                session.send(pattern(size), token)
                try session.run(until: "half is there") { peer.received.count >= size / 30 }
                #expect(session.isSending(token), "the socket took three megabytes")
                peer.readLimit = 40_000
                try session.run(until: "all is there") { peer.received.count >= size }
                try session.run(until: "the last answer") { !session.isSending(token) }
                #expect(mismatch(peer.received, pattern(size)) == nil)
                #expect(session.seen[token]?.sentCount == size)
            }
        }

        /// `send(_:for:)` is like any other send, but may report its result at once.
        @Test(
            "a send that is answered at once is not answered again",
            arguments: DriverKind.allCases, Transport.allCases)
        func whatIsAnsweredAtOnceIsNotAnsweredAgain(
            _ kind: DriverKind, _ transport: Transport
        ) throws {
            try sendToAReaderThatRests(kind, transport, most: 20_000) { session, token, part in
                _ = session.sendAtOnce(part.bytes, token)
                return 0
            }
        }

        /// `trySend(_:for:)` leaves neither bytes for later nor an answer.
        @Test(
            "the bytes of trySend arrive before the bytes of the next send",
            arguments: DriverKind.allCases, Transport.allCases)
        func whatIsSentNowIsBeforeTheNextSend(
            _ kind: DriverKind, _ transport: Transport
        ) throws {
            try sendToAReaderThatRests(kind, transport, most: 60_000) { session, token, part in
                let taken = session.trySend(part.bytes, token)
                // These bytes may include the refused ones, which must not arrive twice.
                session.sendOnce(pattern(1 + part.count / 2, from: part.offset + taken), token)
                return taken
            }
        }

        /// `count` bytes of the pattern, from `offset` on.
        private struct Part {
            let offset: Int
            let count: Int
            var bytes: [UInt8] { pattern(count, from: offset) }
        }

        /// Sends 300 parts, each answered once and before the next. The reader pauses now and then,
        /// so that the socket is sometimes full. `send` submits one send and returns the bytes that
        /// it sent before that.
        private func sendToAReaderThatRests(
            _ kind: DriverKind, _ transport: Transport, most: Int,
            _ send: (Session, Token, Part) -> Int
        ) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair(transport, smallBuffer: true)
                var sent = 0
                for number in 0..<300 {
                    peer.readLimit = number % 30 < 20 ? 100_000 : 0
                    let part = Part(offset: sent, count: 1 + number * 397 % most)
                    let before = session.seen[token]?.sentCount ?? 0
                    sent += send(session, token, part)
                    if session.isSending(token) {
                        peer.readLimit = 100_000
                        try session.run(until: "send \(number) is answered") {
                            !session.isSending(token)
                        }
                    }
                    #expect(session.seen[token]?.answers == number + 1)
                    sent += (session.seen[token]?.sentCount ?? 0) - before
                }
                peer.readLimit = .max
                try session.run(until: "the peer has it") { peer.received.count >= sent }
                try session.run(for: 5_000_000)
                #expect(session.seen[token]?.answers == 300)
                #expect(mismatch(peer.received, pattern(sent)) == nil)
            }
        }

        /// The error is reported exactly once.
        @Test(
            "an error of trySend is reported once by the next send", arguments: DriverKind.allCases)
        func anErrorOfSendNowIsToldByTheNextSend(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair()
                peer.reset()
                try session.run(for: 5_000_000)
                for _ in 0..<3 { #expect(session.trySend(pattern(20_000), token) == 0) }
                session.sendOnce(pattern(100), token)
                try session.run(until: "the send is answered") { !session.isSending(token) }
                #expect(session.seen[token]?.failures.map(\.kind) == [.send])
            }
        }

        @Test(
            "a send that waits on one connection does not block another connection",
            arguments: DriverKind.allCases)
        func whileOneWaitsOthersGoOn(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let (stuck, silent) = try session.makePair(smallBuffer: true)
                let (free, reader) = try session.makePair()
                session.send(pattern(4_000_000), stuck)
                reader.readLimit = .max
                session.send(pattern(2_000_000), free)
                try session.run(until: "the other has it") { reader.received.count >= 2_000_000 }
                #expect(session.isSending(stuck))
                #expect(mismatch(reader.received, pattern(2_000_000)) == nil)
                silent.readLimit = .max
                try session.run(until: "the first has it") { silent.received.count >= 4_000_000 }
                #expect(mismatch(silent.received, pattern(4_000_000)) == nil)
            }
        }

        @Test(
            "sending and receiving on one connection do not wait for each other",
            arguments: DriverKind.allCases, Transport.allCases)
        func sendingAndReceivingDoNotWaitForEachOther(
            _ kind: DriverKind, _ transport: Transport
        ) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair(transport, smallBuffer: true)
                session.submit(.receive, token)
                session.send(pattern(4_000_000), token)
                peer.send(pattern(500_000))
                try session.run(until: "the input is there") {
                    session.seen[token]?.bytes.count == 500_000
                }
                #expect(session.isSending(token))
                #expect(mismatch(session.seen[token]?.bytes, pattern(500_000)) == nil)
                peer.readLimit = .max
                try session.run(until: "the output is there") { peer.received.count >= 4_000_000 }
                #expect(mismatch(peer.received, pattern(4_000_000)) == nil)
            }
        }

        @Test(
            "shutdownWrite ends the stream after the last byte and receiving continues",
            arguments: DriverKind.allCases, Transport.allCases)
        func shutdownWriteEndsBehindTheLastByte(_ kind: DriverKind, _ transport: Transport) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair(transport)
                peer.readLimit = .max
                session.submit(.receive, token)
                session.send(pattern(1_000_000), token)
                try session.run(until: "all is sent") { !session.isSending(token) }
                session.submit(.shutdownWrite, token)
                try session.run(until: "the peer sees the end") { peer.sawEndOfStream }
                #expect(mismatch(peer.received, pattern(1_000_000)) == nil)
                peer.send(pattern(100_000))
                peer.shutdownWrite()
                try session.run(until: "the end") { session.seen[token]?.endCount == 1 }
                #expect(mismatch(session.seen[token]?.bytes, pattern(100_000)) == nil)
                #expect(!peer.sawReset)
            }
        }
    }
}
