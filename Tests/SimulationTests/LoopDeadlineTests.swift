import MillraceEventLoop
import MillraceSimulation
import Testing

/// Time-outs of a loop that was held up: a peer whose bytes have arrived is not silent.
@Suite struct LoopDeadlineTests {
    private static let idle: Nanoseconds = .milliseconds(300)

    private func withIdleTimeout(_ body: (Stage, Token) throws -> Void) throws {
        var configuration = LoopConfiguration()
        configuration.idleTimeout = Self.idle
        try withStage(configuration) { stage in try body(stage, try stage.open()) }
    }

    /// A wait that ends late and without events, like after the process was stopped between the
    /// kernel's answer and its own check of the clock.
    @Test("what came while a process was stopped is seen before its time-outs")
    func stopped() throws {
        try withIdleTimeout { stage, token in
            stage.turn(after: .milliseconds(600))
            stage.turn((token, .received([1])))
            #expect(stage.delegate.take(token) == [.traffic([1])])
            // The time-out counts from there.
            stage.turn(after: .milliseconds(299))
            stage.turn(after: .milliseconds(2))
            stage.turn(after: .milliseconds(2))
            stage.turn()
            #expect(stage.delegate.take(token) == [.closed("timeout")])
        }
    }

    @Test("who has said nothing is closed a millisecond after its time, and no sooner than that")
    func silent() throws {
        try withIdleTimeout { stage, token in
            stage.turn(after: Self.idle)
            stage.turn()
            #expect(stage.delegate.take(token) == [])
            #expect(stage.lastWait == .milliseconds(1))
            stage.turn(after: .milliseconds(1))
            stage.turn()
            #expect(stage.delegate.take(token) == [.closed("timeout")])
        }
    }

    @Test("whose bytes wait in the kernel behind those of others is not silent, for a second")
    func behindOthers() throws {
        try withIdleTimeout { stage, token in
            stage.peers[0].send([1, 2, 3])
            stage.network.runDue()
            stage.turn(after: Self.idle)
            for _ in 0..<999 { stage.turn(after: .milliseconds(1)) }
            #expect(stage.delegate.take(token) == [])
            for _ in 0..<3 { stage.turn(after: .milliseconds(1)) }
            #expect(stage.delegate.take(token) == [.closed("timeout")])
        }
    }

    @Test("an answer that took long leaves its peer as much time as any other")
    func slowAnswer() throws {
        try withIdleTimeout { stage, token in
            stage.delegate.onTraffic = { _, _, _ in stage.driver.now += .milliseconds(500) }
            stage.turn((token, .received([1])))
            stage.turn(after: .milliseconds(299))
            stage.turn(after: .milliseconds(2))
            #expect(stage.delegate.take(token) == [.traffic([1])])
            // Both looks of a deadline that counts from before the answer would be over.
            stage.turn(after: .milliseconds(2))
            #expect(stage.delegate.take(token) == [])
            stage.turn()
            #expect(stage.delegate.take(token) == [.closed("timeout")])
        }
    }

    // MARK: The read time-out

    private static let read: Nanoseconds = .milliseconds(400)

    private func withReadTimeout(
        _ change: (inout LoopConfiguration) -> Void = { _ in },
        _ body: (Stage, Token) throws -> Void
    ) throws {
        var configuration = LoopConfiguration()
        configuration.readTimeout = Self.read
        change(&configuration)
        try withStage(configuration) { stage in try body(stage, try stage.open()) }
    }

    /// The milliseconds until a time-out, or nil if none comes in ten times the read time-out.
    private func timeUntilClosed(_ stage: Stage, each: () -> Void = {}) -> Int? {
        (1...4_000).first { _ in
            stage.turn(after: .milliseconds(1))
            each()
            return stage.remote.counters.timeouts.current > 0
        }
    }

    @Test("a peer that has ended its side and waits for a busy handler is not awaited")
    func endedAndBusy() throws {
        try withReadTimeout { stage, token in
            stage.turn((token, .received([1])))
            stage.turn(token) { $0.setBusy($1, true) }
            stage.turn((token, .endOfStream))
            #expect(timeUntilClosed(stage) == nil)
            #expect(stage.delegate.take(token) == [.traffic([1]), .peerEnded])
            stage.write([2], to: token)
            stage.turn(token) { $0.setBusy($1, false) }
            stage.turn((token, .sent(1)))
            #expect(stage.delegate.take(token) == [.closed("peer")])
        }
    }

    @Test(
        "the other time-outs end a half-closed connection: idle, and write with unsent bytes",
        arguments: [true, false])
    func endedAndSilent(isOwed: Bool) throws {
        try withReadTimeout({
            $0.allowHalfClosure = true
            $0.readTimeout = .milliseconds(100)
            if isOwed { $0.writeTimeout = Self.idle } else { $0.idleTimeout = Self.idle }
        }) { stage, token in
            stage.turn((token, .endOfStream))
            if isOwed { stage.write([1], to: token) }
            let time = try #require(timeUntilClosed(stage))
            #expect(time >= 300 && time < 400, "\(time)")
        }
    }

    // MARK: Tasks

    private func makeTask(_ stage: Stage, _ token: Token) {
        stage.loop.find(token)?.details?.takeUnretainedValue().hasTask = true
    }

    /// The time of a task's work between two waits.
    private func work(_ stage: Stage, _ token: Token, for time: Nanoseconds) {
        stage.turn(token) { $0.setBusy($1, true) }
        stage.turn(after: time)
        stage.turn(token) { $0.setBusy($1, false) }
    }

    @Test("a task that wakes up and sends now and then does not hide that its peer is silent")
    func heartbeats() throws {
        try withReadTimeout { stage, token in
            makeTask(stage, token)
            var age = 0
            let time = timeUntilClosed(stage) {
                age += 1
                guard age % 50 == 0 else { return }
                work(stage, token, for: 0)
                stage.write([1], to: token)
                stage.turn((token, .sent(1)))
            }
            #expect((400...402).contains(time ?? 0), "\(time ?? 0)")
        }
    }

    @Test("a task's work between two waits does not count for its peer")
    func workBetweenWaits() throws {
        try withReadTimeout({ $0.idleTimeout = Self.read }) { stage, token in
            makeTask(stage, token)
            stage.turn(after: .milliseconds(100), (token, .received([1])))
            work(stage, token, for: .milliseconds(350))
            stage.turn(after: .milliseconds(100))
            // Sends nothing, and wakes up by itself.
            work(stage, token, for: .milliseconds(250))
            let time = timeUntilClosed(stage)
            #expect((300...302).contains(time ?? 0), "\(time ?? 0)")
        }
    }

    @Test("bytes that come while a task works start the time-out anew behind the work")
    func bytesDuringWork() throws {
        try withReadTimeout { stage, token in
            makeTask(stage, token)
            stage.turn(after: .milliseconds(300))
            stage.turn(token) { $0.setBusy($1, true) }
            stage.turn(after: .milliseconds(50), (token, .received([1])))
            stage.turn(after: .milliseconds(300))
            stage.turn(token) { $0.setBusy($1, false) }
            let time = timeUntilClosed(stage)
            #expect((400...402).contains(time ?? 0), "\(time ?? 0)")
        }
    }

    @Test("a handler that is no longer busy gives its peer the whole time again")
    func handlersWork() throws {
        try withReadTimeout { stage, token in
            stage.turn(after: .milliseconds(200))
            work(stage, token, for: .milliseconds(100))
            let time = timeUntilClosed(stage)
            #expect((400...402).contains(time ?? 0), "\(time ?? 0)")
        }
    }

    // MARK: Events that come after a long turn

    /// Holds the loop up for five seconds, in a callback of this connection.
    private func holdUp(_ stage: Stage, _ token: Token) {
        stage.delegate.onTraffic = { _, _, _ in stage.driver.now += .milliseconds(5_000) }
        stage.turn((token, .received([1])))
        stage.delegate.onTraffic = nil
        #expect(stage.delegate.take(token) == [.traffic([1])])
    }

    private func connect(
        _ stage: Stage, isEstablished: Bool, _ outcomes: Monitor<[String]>
    ) throws -> Token {
        let address = stage.listener.address
        let requests = stage.turn(
            message: .run { loop in
                loop.connect(to: address, isDatagram: false, timeout: .milliseconds(1_000)) {
                    let outcome: String
                    switch $0 {
                    case .success: outcome = "connected"
                    case .failure(let error): outcome = errorName(error)
                    }
                    outcomes.withLock { $0.append(outcome) }
                }
            })
        guard case .attach(let descriptor, let token)? = requests.first else {
            throw Stage.Unexpected(requests: requests)
        }
        if isEstablished { stage.network.establish(descriptor, with: address) }
        return token
    }

    /// Like on io_uring, whose entries bring few of the events that are due: here one per wait.
    @Test("connects that succeeded while the loop was held up are not late")
    func connectsBehindOthers() throws {
        try withStage { stage in
            let outcomes = Monitor<[String]>([])
            let busy = try stage.open()
            let tokens = try (0..<4).map { _ in
                try connect(stage, isEstablished: true, outcomes)
            }
            let silent = try connect(stage, isEstablished: false, outcomes)
            let unreported = try connect(stage, isEstablished: true, outcomes)
            holdUp(stage, busy)
            stage.turn((tokens[0], .connected))
            stage.turn((tokens[1], .connected))
            #expect(stage.secondLook().contains(.close(silent)))
            #expect(outcomes.withLock { $0 } == ["connected", "connected", "ETIMEDOUT"])
            for token in tokens[2...] {
                stage.turn(after: .milliseconds(400), (token, .connected))
            }
            #expect(
                outcomes.withLock { $0 } == ["connected", "connected", "ETIMEDOUT"]
                    + ["connected", "connected"])
            // A second after the hold-up, the excuse is over.
            #expect(stage.turn() == [])
            stage.turn(after: .milliseconds(200))
            #expect(stage.turn() == [.close(unreported)])
            #expect(outcomes.withLock { $0.last } == "ETIMEDOUT")
        }
    }

    @Test("a handshake whose bytes came while the loop was held up is not late")
    func handshakesBehindOthers() throws {
        var plan = SimulatedFilters.Plan()
        plan.handshakeTimeout = .milliseconds(1_000)
        try withSecuredStage(filters: plan) { secured in
            let busy = try secured.open()
            let (waiting, _) = try secured.accept()
            let (silent, _) = try secured.accept()
            var peer = SimulatedRecords()
            let flight = peer.record(.hello) + peer.record(.finished)
            secured.stage.peers[1].send(flight)
            secured.stage.network.runDue()
            secured.stage.delegate.onTraffic = { _, _, _ in
                secured.stage.driver.now += .milliseconds(5_000)
            }
            secured.turn((busy, .received(secured.record(.data, [1]))))
            #expect(secured.stage.delegate.take(busy) == [.traffic([1])])
            secured.turn()
            let requests = secured.turn() + secured.noteSends(secured.stage.secondLook())
            #expect(requests.contains(.close(silent)))
            #expect(!requests.contains(.close(waiting)))
            secured.turn(after: .milliseconds(900), (waiting, .received(flight)))
            #expect(secured.stage.delegate.take(waiting) == [.opened])
        }
    }

    @Test("bytes that came while the loop was held up have a second from its end")
    func bytesBehindAHoldUp() throws {
        var configuration = LoopConfiguration()
        configuration.idleTimeout = Self.idle
        try withStage(configuration) { stage in
            let token = try stage.open()
            let busy = try stage.open()
            stage.turn(after: 1)
            stage.peers[0].send([1, 2, 3])
            stage.network.runDue()
            holdUp(stage, busy)
            stage.turn()
            stage.turn()
            for _ in 0..<900 { stage.turn(after: .milliseconds(1)) }
            #expect(stage.delegate.take(token) == [])
            for _ in 0..<110 { stage.turn(after: .milliseconds(1)) }
            #expect(stage.delegate.take(token) == [.closed("timeout")])
        }
    }
}
