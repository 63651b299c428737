import Glibc
import MillraceEventLoop
import MillraceTestSupport
import Testing

/// Contract tests of fairness: one source of completions does not starve the others.
extension DriverContract {
    @Suite struct Fairness {
        /// A backlog of any length is accepted a few connections at a time.
        @Test(
            "the driver accepts at most 16 connections between two waits",
            arguments: DriverKind.allCases)
        func betweenTwoWaitsOnlySoManyAreAccepted(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let (established, peer) = try session.makePair()
                session.submit(.receive, established)
                let listener = try session.listen()
                let token = session.attach(listener)
                let peers = try (0..<100).map { _ in try session.connect(to: listener) }
                session.submit(.accept, token)
                var accepted = 0
                var rounds = 0
                let deadline = Deadline()
                while accepted < peers.count {
                    try deadline.check(session.summary)
                    peer.send([1])
                    try session.world.wait(until: session.world.clock + 2_000_000)
                    try session.pullAll()
                    let now = session.seen[token]?.accepted.count ?? 0
                    #expect(now - accepted <= 16, "\(now - accepted) in one turn")
                    accepted = now
                    rounds += 1
                }
                try session.run(until: "the established one was served all along") {
                    session.seen[established]?.bytes.count == rounds
                }
                for descriptor in session.seen[token]?.accepted ?? [] {
                    session.submit(.close, session.attach(descriptor))
                }
            }
        }

        /// A connect that fails at once and is repeated without end does not starve other tokens.
        @Test(
            "a connect that fails at once and is repeated does not starve other tokens",
            arguments: DriverKind.allCases)
        func anOperationThatFailsAtOnceLeavesTheOthersTheirTurn(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let (established, peer) = try session.makePair()
                session.submit(.receive, established)
                let nowhere = SocketAddress.unix("/nonexistent/nowhere.socket", abstract: false)
                let token = session.attach(
                    try session.sockets.makeSocket(
                        for: nowhere, isDatagram: false, receiveOffload: false))
                let name = try nowhere.kernelCopy()
                defer { name.deallocate() }
                func connect() {
                    session.submit(
                        .connect(UnsafeRawPointer(name.baseAddress!), length: UInt32(name.count)),
                        token)
                }
                connect()
                peer.send([1])
                session.world.pause(5_000_000)
                var failures = 0
                for _ in 0..<500 where session.seen[established]?.bytes.isEmpty != false {
                    try session.world.wait(until: session.world.clock + 2_000_000)
                    for _ in 0..<64 {
                        guard let completion = session.pull() else { break }
                        if completion.token == token, case .failed = completion.event {
                            failures += 1
                            connect()
                        }
                    }
                }
                #expect(session.seen[established]?.bytes == [1], "beside \(failures) failures")
            }
        }

        /// With more sends in a turn than the queue holds, each turn begins with completions.
        @Test(
            "sends that complete at once and follow each other do not starve a receive",
            arguments: DriverKind.allCases)
        func sendsWithoutEnd(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let (established, peer) = try session.makePair(.unix)
                session.submit(.receive, established)
                let writers = try Writers(session)
                try session.run(for: 5_000_000)
                writers.begin()
                peer.send([1])
                var sends = 0
                for _ in 0..<500 where session.seen[established]?.bytes.isEmpty != false {
                    sends += try writers.turn()
                }
                #expect(session.seen[established]?.bytes == [1], "beside \(sends) sends")
                try writers.finish()
            }
        }

        /// A driver may receive large messages in another way than small ones.
        @Test(
            "streams that turn small beside sends without end are still received",
            arguments: DriverKind.allCases)
        func turningSmallBesideSends(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let streams = try (0..<3).map { _ in try session.makePair(.tcp) }
                for stream in streams {
                    session.submit(.receive, stream.token)
                    stream.peer.send(pattern(300_000))
                }
                try session.run(until: "the large ones have come") {
                    streams.allSatisfy { session.seen[$0.token]?.bytes.count == 300_000 }
                }
                let writers = try Writers(session)
                writers.begin()
                // Each turns small with its first piece, and must see the second.
                var pieces = 0
                for round in 0..<600 {
                    if round % 40 == 0, pieces < 2 * streams.count {
                        streams[pieces / 2].peer.send([1])
                        pieces += 1
                    }
                    _ = try writers.turn()
                }
                for stream in streams {
                    #expect(session.seen[stream.token]?.bytes.count == 300_002)
                }
                try writers.finish()
            }
        }

        /// A cancellation does not find an operation that the kernel is about to run again. With a
        /// full queue its answer comes at once.
        @Test(
            "a token closes even when a cancellation finds no operation",
            arguments: DriverKind.allCases)
        func cancellationsThatFindNothingEnd(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                for _ in 0..<20 {
                    let pairs = try (0..<60).map { _ in try session.makePair() }
                    for (token, _) in pairs { session.submit(.receive, token) }
                    try session.world.wait(until: session.world.clock)
                    for (_, peer) in pairs { peer.send([1]) }
                    for (token, _) in pairs { session.submit(.stop(.receive), token) }
                    try session.pullAll()
                    for (token, _) in pairs { session.submit(.close, token) }
                    try session.pullAll()
                    try session.run(until: "all are closed") {
                        pairs.allSatisfy { session.seen[$0.token]?.closedCount == 1 }
                    }
                    session.forgetPeers()
                }
            }
        }
    }
}

/// Thirty tokens whose peers read everything: each send completes at once, and another follows it.
private struct Writers {
    private let session: Session
    private let pairs: [(token: Token, peer: any TestPeer)]

    init(_ session: Session) throws {
        self.session = session
        pairs = try (0..<30).map { _ in try session.makePair(.unix) }
        for pair in pairs { pair.peer.readLimit = .max }
    }

    func begin() {
        for pair in pairs { session.sendOnce([2], pair.token) }
    }

    /// Runs a turn of at most 64 completions. Returns the number of sends that have completed.
    func turn() throws -> Int {
        for pair in pairs { pair.peer.takeTurn() }
        try session.world.wait(until: session.world.clock + 2_000_000)
        var sends = 0
        for _ in 0..<64 {
            guard let completion = session.pull() else { break }
            guard case .sent = completion.event else { continue }
            sends += 1
            session.sendOnce([2], completion.token)
        }
        return sends
    }

    func finish() throws {
        try session.run(until: "the last are sent") {
            pairs.allSatisfy { !session.isSending($0.token) }
        }
    }
}
