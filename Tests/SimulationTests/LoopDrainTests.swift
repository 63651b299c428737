import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// The effect of a stop on connections, by the clock: when each closes, and when the loop reports
/// that none is left.
@Suite struct LoopDrainTests {
    /// A peer that was silent for this long is not in the middle of sending.
    private let quiet = Nanoseconds.milliseconds(20)
    private let limit = Nanoseconds.milliseconds(1_000)
    private let half = Nanoseconds.milliseconds(500)

    /// Requests the stop in a separate turn.
    private func drain(_ stage: Stage, within limit: Nanoseconds) {
        stage.turn(message: .drain(within: limit))
    }

    /// Returns a connection that has sent a byte, so that it does not count as new.
    private func open(_ stage: Stage) throws -> Token {
        let token = try stage.open()
        // Later than the opening: a peer that has said nothing has longer.
        stage.turn(after: 1, (token, .received([0])))
        #expect(stage.delegate.take(token) == [.traffic([0])])
        stage.write([0], to: token)
        #expect(stage.turn((token, .sent(1))) == [])
        return token
    }

    @Test("no connection: drained at once, and told once")
    func empty() throws {
        try withStage { stage in
            drain(stage, within: limit)
            #expect(stage.owner.take() == [.drained])
            stage.turn(after: limit)
            drain(stage, within: limit)
            stage.turn()
            #expect(stage.owner.take() == [])
            #expect(stage.lastWait == nil)
        }
    }

    @Test("a quiet connection closes, and only its last word ends the drain")
    func quietOne() throws {
        try withStage { stage in
            let token = try open(stage)
            drain(stage, within: limit)
            // The loop sleeps until the connection may count as quiet.
            #expect(stage.turn() == [])
            #expect(stage.lastWait == quiet)
            #expect(stage.turn(after: quiet - 1) == [])
            #expect(stage.turn() == [])
            stage.turn(after: 1)
            #expect(stage.turn() == [.close(token)])
            #expect(stage.delegate.take(token) == [.closed("shutdown")])
            #expect(stage.owner.take() == [])
            #expect(stage.turn((token, .closed)) == [])
            #expect(stage.owner.take() == [.drained])
        }
    }

    @Test("a peer that goes on sending is quiet only after its last bytes, or at half of the time")
    func sending() throws {
        try withStage { stage in
            let (brief, endless) = (try open(stage), try open(stage))
            drain(stage, within: limit)
            stage.turn(after: quiet - 1, (brief, .received([1])), (endless, .received([1])))
            stage.turn(after: quiet - 1, (endless, .received([2])))
            stage.turn()
            #expect(stage.lastWait == 1)
            stage.turn(after: 1)
            #expect(stage.turn() == [.close(brief)])
            var left = half - (quiet * 2 - 1)
            while left > quiet - 1 {
                #expect(stage.turn(after: quiet - 1, (endless, .received([3]))) == [])
                left -= quiet - 1
            }
            #expect(stage.turn(after: left - 1, (endless, .received([4]))) == [])
            #expect(stage.turn(after: 1, (endless, .received([5]))) == [])
            #expect(stage.turn() == [.shutdownWrite(endless)])
            #expect(stage.owner.take() == [])
        }
    }

    @Test("a busy connection closes at half of the time")
    func busy() throws {
        try withStage { stage in
            let token = try open(stage)
            stage.turn(token) { $0.setBusy($1, true) }
            drain(stage, within: limit)
            #expect(stage.turn(after: half - 1) == [])
            #expect(stage.turn() == [])
            #expect(stage.lastWait == 1)
            stage.turn(after: 1)
            #expect(stage.turn() == [.close(token)])
            #expect(stage.delegate.take(token) == [.closed("shutdown")])
        }
    }

    @Test("a connection that is busy no more closes at once")
    func busyNoMore() throws {
        try withStage { stage in
            let token = try open(stage)
            stage.turn(token) { $0.setBusy($1, true) }
            drain(stage, within: limit)
            #expect(stage.turn(after: quiet * 3) == [])
            #expect(stage.turn(token) { $0.setBusy($1, false) } == [])
            #expect(stage.turn() == [.close(token)])
        }
    }

    @Test("bytes that wait unread below a loop which was held up are no silence")
    func unread() throws {
        try withStage { stage in
            let token = try open(stage)
            stage.peers[0].send([1])
            drain(stage, within: limit)
            for _ in 0..<3 {
                #expect(stage.turn(after: quiet) == [])
                #expect(stage.turn() == [])
                #expect(stage.lastWait == quiet)
            }
            // At half of the time the loop no longer waits.
            stage.turn(after: half - quiet * 3)
            #expect(stage.turn() == [.shutdownWrite(token)])
        }
    }

    @Test("what is still on its way when the time is up is aborted, not before")
    func deadline() throws {
        try withStage { stage in
            let token = try open(stage)
            stage.write([1, 2, 3], to: token)
            drain(stage, within: limit)
            stage.turn(after: quiet)
            #expect(stage.turn() == [])
            #expect(stage.lastWait == limit - quiet)
            #expect(
                stage.turn(after: limit - quiet - 1, (token, .sent(1))) == [.send([2, 3], token)])
            #expect(stage.turn() == [])
            stage.turn(after: 1)
            #expect(stage.turn() == [.close(token)])
            #expect(stage.delegate.take(token) == [.closed("shutdown")])
            #expect(stage.turn((token, .sent(2)), (token, .closed)) == [])
            #expect(stage.owner.take() == [.drained])
        }
    }

    @Test("a second stop may shorten the time, not lengthen it")
    func twice() throws {
        try withStage { stage in
            let token = try open(stage)
            stage.turn(token) { $0.setBusy($1, true) }
            drain(stage, within: limit * 10)
            drain(stage, within: limit)
            stage.turn()
            #expect(stage.lastWait == half)
            drain(stage, within: limit * 10)
            stage.turn()
            #expect(stage.lastWait == half)
            stage.turn(after: half)
            #expect(stage.turn() == [.close(token)])
        }
    }

    @Test("the descriptor of another loop that comes during the drain is served and closed too")
    func lateAdoption() throws {
        try withStage { stage in
            let first = try open(stage)
            drain(stage, within: limit)
            let second = try open(stage)
            stage.turn(after: quiet)
            #expect(stage.turn() == [.close(first), .close(second)])
            stage.turn((first, .closed))
            #expect(stage.owner.take() == [])
            stage.turn((second, .closed))
            #expect(stage.owner.take() == [.drained])
        }
    }

    @Test("the end: one goodbye, and a descriptor that comes later is discarded")
    func end() throws {
        try withStage { stage in
            drain(stage, within: limit)
            let late = try stage.makeStream()
            // After the end message, in the same batch.
            stage.owner.connectionAdded()
            _ = stage.remote.post(.end)
            #expect(stage.turn(message: .adopt(late, listener: 0, host: nil)) == [])
            #expect(stage.delegate.shutDowns == 1)
            #expect(stage.driver.isShutDown)
            #expect(!stage.isOpen(late.descriptor))
        }
    }
}
