import MillraceEventLoop
import MillraceTestSupport
import Testing

/// Contract tests of closing: one last event, and no old event for a reused slot or descriptor.
extension DriverContract {
    @Suite struct Closes {
        @Test(
            "the closed event comes once and last with a receive and a send in flight",
            arguments: DriverKind.allCases, Transport.allCases)
        func withEverythingInFlightItIsTheLastWord(
            _ kind: DriverKind, _ transport: Transport
        ) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair(transport, smallBuffer: true)
                session.submit(.receive, token)
                session.send(pattern(4_000_000), token)
                peer.send(pattern(50_000))
                try session.run(until: "something came") { session.seen[token]?.bytes != [] }
                #expect(session.isSending(token))
                session.submit(.close, token)
                try session.run(until: "it is closed") { session.seen[token]?.closedCount == 1 }
                peer.send(pattern(50_000))
                peer.readLimit = .max
                try session.run(for: 30_000_000)
                #expect(session.seen[token]?.closedCount == 1)
                #expect(session.seen[token]?.events.last == "closed")
                // The peer received a prefix of the sent bytes and no other bytes.
                #expect(mismatch(peer.received, pattern(peer.received.count)) == nil)
                try session.run(until: "the peer hears of it") {
                    peer.sawEndOfStream || peer.sawReset
                }
            }
        }

        /// A close while a receive is in flight still sends the peer its end of stream.
        @Test(
            "the peer reads the end of the stream after a close with a receive in flight",
            arguments: DriverKind.allCases, Transport.allCases)
        func thePeerSeesTheEnd(_ kind: DriverKind, _ transport: Transport) throws {
            try withSession(kind) { session in
                try promptly("the end", within: .milliseconds(100)) {
                    let (token, peer) = try session.makePair(transport)
                    peer.readLimit = .max
                    session.submit(.receive, token)
                    try session.run(for: 1_000_000)
                    session.submit(.close, token)
                    let start = session.world.clock
                    try session.run(until: "the peer sees the end") { peer.sawEndOfStream }
                    #expect(!peer.sawReset)
                    return .nanoseconds(session.world.clock - start)
                }
            }
        }

        /// A connect that the kernel is about to resume cannot be cancelled. With so many of them
        /// that the cancellations do not fit into the queue, their answers come before the kernel
        /// has resumed any.
        @Test(
            "thirty connects close just after they have begun",
            arguments: DriverKind.allCases)
        func manyConnects(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let listener = try session.listen()
                let name = try listener.address.kernelCopy()
                defer { name.deallocate() }
                let tokens = try (0..<30).map { _ in
                    session.attach(
                        try session.sockets.makeSocket(
                            for: listener.address, isDatagram: false, receiveOffload: false))
                }
                for token in tokens {
                    session.submit(
                        .connect(UnsafeRawPointer(name.baseAddress!), length: UInt32(name.count)),
                        token)
                }
                for token in tokens { session.submit(.close, token) }
                try session.run(until: "all are closed") {
                    tokens.allSatisfy { session.seen[$0]?.closedCount == 1 }
                }
                session.submit(.close, session.attach(listener))
            }
        }

        @Test("a close sends a reset when resetOnClose was called", arguments: DriverKind.allCases)
        func aResetIsSentWhenItWasAskedFor(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let listener = try session.listen()
                let peer = try session.connect(to: listener)
                peer.readLimit = .max
                let descriptor = try session.acceptWaiting(on: listener)
                let token = session.attach(descriptor)
                session.submit(.receive, token)
                try session.run(for: 1_000_000)
                session.sockets.resetOnClose(descriptor)
                session.submit(.close, token)
                try session.run(until: "the peer is reset") { peer.sawReset }
                #expect(!peer.sawEndOfStream)
            }
        }

        /// Reuses one slot, and most likely one descriptor number, for another peer.
        @Test(
            "a reused slot receives no bytes or events of its earlier connection",
            arguments: DriverKind.allCases)
        func aReusedSlotHearsNothingOld(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let listener = try session.listen()
                for generation in 1...300 as ClosedRange<UInt32> {
                    let mark = UInt8(truncatingIfNeeded: generation)
                    let peer = try session.connect(to: listener)
                    let descriptor = try session.acceptWaiting(on: listener)
                    let token = Token(slot: 5, generation: generation)
                    session.attach(descriptor, as: token)
                    session.submit(.receive, token)
                    peer.send([UInt8](repeating: mark, count: 1000))
                    session.send([UInt8](repeating: mark, count: 1000), token)
                    try session.run(until: "its own came") { session.seen[token]?.bytes != [] }
                    // Input, an end or a reset is on its way when the slot changes hands.
                    switch generation % 4 {
                    case 0: peer.send([UInt8](repeating: mark, count: 100_000))
                    case 1: peer.shutdownWrite()
                    case 2: peer.reset()
                    default: session.submit(.stop(.receive), token)
                    }
                    session.submit(.close, token)
                    try session.run(until: "closed") { session.seen[token]?.closedCount == 1 }
                    let strange = session.seen[token]?.bytes.first { $0 != mark }
                    #expect(strange == nil, "generation \(generation) got \(strange ?? 0)")
                }
                #expect(session.seen.allSatisfy { $0.value.closedCount == 1 })
            }
        }

        /// The slot is reused while a completion for its earlier token is reported but not yet
        /// pulled.
        @Test(
            "a slot reused while a completion is pending receives no events of its earlier token",
            arguments: DriverKind.allCases)
        func aSlotReusedInTheMiddleOfATurnHearsNothingOld(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let pairs = try (0..<2).map { _ in try session.makePair() }
                for (token, _) in pairs { session.submit(.receive, token) }
                try session.run(for: 2_000_000)
                let listener = try session.listen()
                let late = try session.connect(to: listener)
                let descriptor = try session.acceptWaiting(on: listener)
                late.send([3])
                for (_, peer) in pairs { peer.send([1]) }
                session.world.pause(2_000_000)
                var closed: Token?
                var next: Token?
                session.onCompletion = { completion in
                    if case .received = completion.event, closed == nil {
                        let other = pairs.map(\.token).first { $0 != completion.token }
                        closed = other
                        other.map { session.submit(.close, $0) }
                    }
                    if case .closed = completion.event, completion.token == closed {
                        let token = Token(slot: completion.token.slot, generation: 2)
                        session.attach(descriptor, as: token)
                        session.submit(.receive, token)
                        next = token
                    }
                }
                try session.run(until: "the next is heard") {
                    next.flatMap { session.seen[$0]?.bytes } == [3]
                }
                #expect(closed.flatMap { session.seen[$0]?.closedCount } == 1)
            }
        }

        @Test("a closed listener accepts no further connection", arguments: DriverKind.allCases)
        func ofAListenerItRefusesTheNext(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let listener = try session.listen()
                let token = session.attach(listener)
                session.submit(.accept, token)
                try session.run(for: 1_000_000)
                session.submit(.close, token)
                try session.run(until: "closed") { session.seen[token]?.closedCount == 1 }
                let late = try? session.connect(to: listener)
                late?.send([1])
                try session.run(for: 20_000_000)
                #expect(late?.sentCount ?? 0 == 0)
                #expect(session.seen[token]?.accepted == [])
            }
        }
    }
}
