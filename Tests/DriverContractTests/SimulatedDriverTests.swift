import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// Tests of the simulated driver: it keeps the contract for every seed, repeats itself, and detects
/// a loop that breaks the rules.
@Suite struct SimulatedDriverTests {
    private let token = Token(slot: 3, generation: 1)

    /// Returns a driver, a stream attached to it, and the peer at its other end.
    private func makeStream(
        _ plan: FaultPlan = .calm
    ) throws -> (driver: SimulatedDriver, peer: Peer, sockets: SimulatedSockets) {
        let network = SimulatedNetwork(seed: 7)
        let sockets = SimulatedSockets(network: network)
        let listener = try sockets.listen(
            on: .v4(IPv4Bytes(0), port: 80), ListenOptions())
        let peer = network.connect(to: .v4(IPv4Bytes(0x0100_007F), port: 80))
        network.runDue()
        let driver = SimulatedDriver(network: network, seed: 8, plan: plan)
        let descriptor = try #require(
            try sockets.acceptWaiting(on: listener.descriptor)?.descriptor)
        driver.attach(descriptor, as: token)
        return (driver, peer, sockets)
    }

    private func pullAll(_ driver: SimulatedDriver) throws {
        for _ in 0..<100 {
            try driver.wait(until: 0)
            while driver.next() != nil {}
            guard let next = driver.nextReadyTime else { return }
            driver.network.advance(to: next)
        }
    }

    // MARK: Seeds

    /// Echoes, with some resets by peers and some closes by the server, and returns all events as
    /// text.
    private func run(seed: UInt64) throws -> [String] {
        var random = SeededRandom(seed: seed)
        var plan = FaultPlan.drawn(from: &random)
        plan.stale = .never
        plan.resets = .never
        plan.acceptErrors = .never
        let world = SimulatedWorld(
            plan: plan, network: NetworkPlan.drawn(from: &random), seed: random.next() >> 1)
        var heard: [String] = []
        try withSession(world) { session in
            let listener = try session.listen()
            let acceptor = session.attach(listener)
            session.submit(.accept, acceptor)
            var peers: [(peer: any TestPeer, size: Int)] = []
            for _ in 0..<random.within(1...8) {
                let peer = try session.connect(to: listener)
                let size = random.within(1...20_000)
                peer.readLimit = random.pick([100, 4_000, .max])
                peer.send(pattern(size))
                peers.append((peer, size))
            }
            var waiting: [Token: [UInt8]] = [:]
            session.onCompletion = { completion in
                let token = completion.token
                switch completion.event {
                case .accepted(let descriptor):
                    session.submit(.receive, session.attach(descriptor))
                case .received(let start, let count):
                    waiting[token, default: []] += UnsafeRawBufferPointer(
                        start: start, count: count)
                default: break
                }
                if !session.isSending(token), let bytes = waiting[token], !bytes.isEmpty {
                    waiting[token] = []
                    session.send(bytes, token)
                }
            }
            try session.run(until: "all is echoed") {
                peers.allSatisfy { $0.peer.received.count >= $0.size }
            }
            #expect(peers.allSatisfy { $0.peer.received == pattern($0.size) })
            heard = session.seen.sorted { $0.key.word < $1.key.word }.flatMap { $0.value.events }
            heard.append("\(session.world.clock)")
        }
        return heard
    }

    @Test(
        "the simulated driver keeps the contract for every seed",
        arguments: 1...60 as ClosedRange<UInt64>)
    func everySeedKeepsTheContract(_ seed: UInt64) throws { _ = try run(seed: seed) }

    @Test(
        "two runs with the same seed produce the same events",
        arguments: 1...5 as ClosedRange<UInt64>)
    func aSeedRepeatsItself(_ seed: UInt64) throws {
        #expect(try run(seed: seed) == run(seed: seed))
    }

    // MARK: Rules

    @Test("the simulated driver reports two sends in flight as a violation")
    func twoSendsInFlightAreNoticed() throws {
        let (driver, _, _) = try makeStream(.turbulent)
        let bytes = [UInt8](repeating: 1, count: 1_000_000)
        bytes.withUnsafeBytes {
            driver.submit(.send($0), for: token)
            driver.submit(.send($0), for: token)
        }
        #expect(driver.violations.count == 1)
    }

    @Test("the simulated driver counts each wrong operation as a violation")
    func wrongOperationsAreNoticed() throws {
        let (driver, _, _) = try makeStream()
        driver.submit(.receive, for: Token(slot: 9, generation: 1))
        driver.submit(.send(UnsafeRawBufferPointer(start: nil, count: 0)), for: token)
        driver.submit(.stop(.receive), for: token)
        driver.submit(.receive, for: token)
        driver.submit(.receive, for: token)
        driver.submit(.close, for: token)
        driver.submit(.close, for: token)
        driver.submit(.receive, for: token)
        // The last submit counts twice: a second stream, and an operation after the close.
        #expect(driver.violations.count == 7, "\(driver.violations)")
    }

    @Test("a second receive before the end of the first is pulled counts as a violation")
    func aStreamAskedForBeforeItsLastWordIsPulledIsNoticed() throws {
        let (driver, peer, _) = try makeStream()
        driver.submit(.receive, for: token)
        peer.shutdownWrite()
        try driver.wait(until: 0)
        driver.submit(.receive, for: token)
        #expect(driver.violations.count == 1)
    }

    @Test("a change of the memory of a send in flight counts as a violation")
    func sendMemoryThatChangesIsNoticed() throws {
        var plan = FaultPlan()
        plan.sendsAtOnce = .never
        let (driver, peer, _) = try makeStream(plan)
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 100, alignment: 1)
        defer { memory.deallocate() }
        memory.copyBytes(from: [UInt8](repeating: 1, count: 100))
        driver.submit(.send(UnsafeRawBufferPointer(memory)), for: token)
        memory.copyBytes(from: [UInt8](repeating: 2, count: 100))
        try pullAll(driver)
        #expect(driver.violations.count == 1)
        #expect(peer.read() == [UInt8](repeating: 2, count: 100))
    }

    @Test("lent bytes are overwritten with poison at the next pull")
    func lentBytesArePoisonedWhenTheLoanEnds() throws {
        let (driver, peer, _) = try makeStream()
        driver.submit(.receive, for: token)
        peer.send([1, 2, 3])
        try driver.wait(until: 0)
        guard let bytes = driver.next()?.event.receivedBytes else {
            Issue.record("nothing came")
            return
        }
        #expect(Array(bytes) == [1, 2, 3])
        _ = driver.next()
        #expect(Array(bytes) == [UInt8](repeating: SimulatedDriver.poison, count: 3))
    }

    @Test("a closed token gets a stale completion when the fault plan asks for one")
    func aStaleCompletionFollowsItsToken() throws {
        var plan = FaultPlan()
        plan.stale = .always
        let (driver, _, _) = try makeStream(plan)
        driver.submit(.close, for: token)
        try pullAll(driver)
        #expect(driver.staleCount == 1)
        #expect(driver.violations.isEmpty)
    }

    // MARK: TCP

    /// Closing with unread input loses output that the kernel had already accepted.
    @Test("a close with unread input resets the peer and loses the output")
    func closingWithUnreadInputDestroysOutput() throws {
        let (driver, peer, _) = try makeStream()
        peer.send([1, 2, 3])
        let bytes = pattern(10_000)
        try bytes.withUnsafeBytes {
            driver.submit(.send($0), for: token)
            try pullAll(driver)
        }
        driver.submit(.close, for: token)
        try pullAll(driver)
        #expect(peer.read().isEmpty)
        #expect(peer.sawReset && !peer.sawEndOfStream)
        #expect(peer.lostCount == 10_000)
    }

    @Test("input after a close resets the peer and loses the unread output")
    func inputAfterTheCloseDestroysOutputToo() throws {
        let (driver, peer, _) = try makeStream()
        let bytes = pattern(10_000)
        try bytes.withUnsafeBytes {
            driver.submit(.send($0), for: token)
            try pullAll(driver)
        }
        driver.submit(.close, for: token)
        try pullAll(driver)
        #expect(mismatch(peer.read(atMost: 4_000), pattern(4_000)) == nil)
        peer.send([1])
        #expect(peer.read().isEmpty)
        #expect(peer.sawReset)
        #expect(peer.lostCount == 6_000)
    }

    @Test("a close without unread input loses no bytes and sends no reset")
    func aCleanCloseLosesNothing() throws {
        let (driver, peer, sockets) = try makeStream()
        let bytes = pattern(10_000)
        try bytes.withUnsafeBytes {
            driver.submit(.send($0), for: token)
            try pullAll(driver)
        }
        driver.submit(.close, for: token)
        try pullAll(driver)
        #expect(mismatch(peer.read(), pattern(10_000)) == nil)
        peer.read()
        #expect(peer.sawEndOfStream && !peer.sawReset)
        #expect(driver.liveTokenCount == 0)
        #expect(sockets.network.openDescriptors.count == 1, "the listener alone")
    }

    @Test("a closed listener resets the connections in its backlog and refuses others")
    func aClosedListenerRefusesAndResetsItsBacklog() throws {
        let network = SimulatedNetwork(seed: 1)
        let sockets = SimulatedSockets(network: network)
        let address = SocketAddress.unix("name", abstract: true)
        let listener = try sockets.listen(on: address, ListenOptions(backlog: 1))
        let first = network.connect(to: address)
        let second = network.connect(to: address)
        network.runDue()
        #expect(first.state == .connected)
        #expect(second.state == .connecting, "the backlog is full")
        sockets.discard(listener.descriptor)
        network.advance(to: network.now + 10_000_000)
        first.read()
        #expect(first.sawReset)
        #expect(second.state == .refused)
        #expect(network.violations.isEmpty)
        sockets.discard(listener.descriptor)
        #expect(network.violations.count == 1)
    }
}
