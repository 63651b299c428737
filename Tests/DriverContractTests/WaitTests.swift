import MillraceEventLoop
import MillraceTestSupport
import Testing

/// Contract tests of waiting: a wait ends with a completion, a wake-up or the deadline, and only
/// then.
extension DriverContract {
    @Suite struct Waits {
        @Test("a wait ends at its deadline", arguments: DriverKind.allCases)
        func endsAtTheDeadline(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let (token, _) = try session.makePair()
                session.submit(.receive, token)
                try session.run(for: 2_000_000)
                for milliseconds in [1, 7, 30] as [Nanoseconds] {
                    try promptly("\(milliseconds) ms", within: .milliseconds(200)) {
                        let start = session.world.clock
                        let deadline = start + milliseconds * 1_000_000
                        try session.world.wait(until: deadline)
                        let late = session.world.clock - deadline
                        #expect(late >= 0, "\(-late) ns early of \(milliseconds) ms")
                        #expect(session.driver.now >= deadline)
                        #expect(session.pull() == nil)
                        return .nanoseconds(late)
                    }
                }
            }
        }

        @Test("a wait with a deadline in the past returns at once", arguments: DriverKind.allCases)
        func doesNotWaitForThePast(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                try promptly("five waits", within: .milliseconds(200)) {
                    let start = session.world.clock
                    for past in [start, start - 1, 0, -1, .min / 4] as [Nanoseconds] {
                        try session.world.wait(until: past)
                        try session.pullAll()
                    }
                    return .nanoseconds(session.world.clock - start)
                }
            }
        }

        @Test(
            "every kind of completion ends a wait",
            arguments: DriverKind.allCases, Transport.allCases)
        func whateverHappensEndsIt(_ kind: DriverKind, _ transport: Transport) throws {
            try withSession(kind) { session in
                let (token, peer) = try session.makePair(transport)
                let (full, reader) = try session.makePair(transport, smallBuffer: true)
                let listener = try session.listen(transport)
                let acceptor = session.attach(listener)
                session.submit(.receive, token)
                session.submit(.accept, acceptor)
                session.send(pattern(4_000_000), full)
                try session.run(for: 20_000_000)

                func expectEnd(
                    _ event: String, of token: Token, after action: () throws -> Void
                ) throws {
                    let before = session.seen[token]?.events.count ?? 0
                    try action()
                    while session.seen[token]?.events.count ?? 0 == before {
                        try session.waitUntilEnded(by: event)
                    }
                    let heard = session.seen[token]?.events[before...] ?? []
                    #expect(heard.contains { $0.hasPrefix(event) }, "\(heard)")
                }
                try expectEnd("received", of: token) { peer.send([1]) }
                try expectEnd("sent", of: token) { session.send([1], token) }
                try expectEnd("accepted", of: acceptor) {
                    _ = try session.connect(to: listener)
                }
                try expectEnd("sent", of: full) {
                    reader.readLimit = .max
                    reader.takeTurn()
                }
                try expectEnd("stopped", of: acceptor) { session.submit(.stop(.accept), acceptor) }
                try expectEnd("closed", of: acceptor) { session.submit(.close, acceptor) }
                try expectEnd("endOfStream", of: token) { peer.shutdownWrite() }
                session.seen[acceptor]?.accepted.forEach { session.sockets.discard($0) }
            }
        }

        @Test("the clock of the driver never goes back", arguments: DriverKind.allCases)
        func theClockNeverGoesBack(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                var last = session.driver.now
                for _ in 0..<20 {
                    try session.world.wait(until: session.world.clock + 500_000)
                    try session.pullAll()
                    #expect(session.driver.now >= last)
                    #expect(session.driver.now <= session.world.clock)
                    last = session.driver.now
                }
            }
        }

        @Test(
            "wake-ups before a wait end it once and do not end the next wait",
            arguments: DriverKind.allCases)
        func aWakeUpBeforeItEndsItOnce(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                for _ in 0..<10 { session.driver.waker.wake() }
                try session.waitUntilEnded(by: "earlier wake-up")
                let deadline = session.world.clock + 20_000_000
                try session.world.wait(until: deadline)
                #expect(session.world.clock >= deadline, "woken again by an old wake-up")
            }
        }

        @Test("a wake-up during a wait ends it", arguments: DriverKind.allCases)
        func aWakeUpDuringItEndsIt(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let waker = session.driver.waker
                for _ in 0..<5 {
                    let start = session.world.clock
                    session.world.elsewhere(1, every: 20_000_000) { waker.wake() }
                    try session.waitUntilEnded(by: "wake-up")
                    let time = session.world.clock - start
                    #expect(time >= 10_000_000, "after \(time) ns")
                }
            }
        }

        /// A value published before a wake-up is visible after one of the waits.
        @Test("a wake-up from another thread is never lost", arguments: DriverKind.allCases)
        func noWakeUpIsLost(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let waker = session.driver.waker
                let published = Tally()
                session.world.elsewhere(2000, every: 30_000) {
                    published.add()
                    waker.wake()
                }
                while published.count < 2000 { try session.waitUntilEnded(by: "wake-up") }
            }
        }

        /// A waker may be used after its driver has ended.
        @Test("a waker may be used after its driver has ended", arguments: DriverKind.allCases)
        func aWakerOutlivesItsDriver(_ kind: DriverKind) throws {
            var waker: (any Waker)?
            try withSession(kind) { session in waker = session.driver.waker }
            for _ in 0..<100 { waker?.wake() }
        }

        /// A signal does not cause an event or an error.
        @Test("a signal causes no event and no error", arguments: DriverKind.allCases)
        func signalsDoNotSurface(_ kind: DriverKind) throws {
            let signals = SignalStorm()
            defer { signals.end() }
            try withSession(kind) { session in
                let (token, peer) = try session.makePair(smallBuffer: true)
                let size = 2_000_000
                session.submit(.receive, token)
                peer.readLimit = 20_000
                session.send(pattern(size), token)
                peer.send(pattern(size))
                try session.run(until: "both have all") {
                    peer.received.count >= size && (session.seen[token]?.bytes.count ?? 0) >= size
                }
                try session.run(for: 50_000_000)
                #expect(mismatch(peer.received, pattern(size)) == nil)
                #expect(mismatch(session.seen[token]?.bytes, pattern(size)) == nil)
            }
        }
    }
}
