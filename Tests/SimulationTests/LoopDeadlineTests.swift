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
}
