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
}
