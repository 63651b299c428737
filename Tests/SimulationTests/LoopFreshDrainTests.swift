import MillraceEventLoop
import MillraceSimulation
import Testing

/// A stop soon after a connection was made, whose first bytes may be in transit.
@Suite struct LoopFreshDrainTests {
    private let quiet = Nanoseconds.milliseconds(20)
    private let firstBytes = Nanoseconds.milliseconds(100)
    private let limit = Nanoseconds.milliseconds(1_000)

    private func drain(_ stage: Stage) { stage.turn(message: .drain(within: limit)) }

    @Test(
        "who has just connected and sent nothing has 100 ms from then",
        arguments: [0, 30, 79] as [Nanoseconds])
    func fresh(age: Nanoseconds) throws {
        try withStage { stage in
            let token = try stage.open()
            stage.turn(after: .milliseconds(age))
            drain(stage)
            let left = firstBytes - .milliseconds(age)
            #expect(stage.turn() == [])
            #expect(stage.lastWait == left)
            #expect(stage.turn(after: left - 1) == [])
            #expect(stage.turn() == [])
            stage.turn(after: 1)
            #expect(stage.turn() == [.close(token)])
            #expect(stage.delegate.take(token) == [.closed("shutdown")])
        }
    }

    /// Its first bytes may be in transit since it received ours.
    @Test("a peer that has only received a greeting has 100 ms from then")
    func greeted() throws {
        try withStage { stage in
            let token = try stage.open()
            stage.write([1, 2], to: token)
            stage.turn(after: .milliseconds(5), (token, .sent(2)))
            stage.turn(after: .milliseconds(30))
            drain(stage)
            #expect(stage.turn() == [])
            let left = firstBytes - .milliseconds(30)
            #expect(stage.lastWait == left)
            #expect(stage.turn(after: left - 1, (token, .received([7]))) == [])
            #expect(stage.delegate.take(token).contains(.traffic([7])))
        }
    }

    @Test("what it sends after more than 20 ms is shown")
    func firstBytesDuringTheDrain() throws {
        try withStage { stage in
            let token = try stage.open()
            drain(stage)
            #expect(stage.turn(after: .milliseconds(60), (token, .received([1]))) == [])
            #expect(stage.delegate.take(token) == [.traffic([1])])
        }
    }

    @Test("who was silent for long, or has had an answer, has 20 ms", arguments: [true, false])
    func known(isAnswered: Bool) throws {
        try withStage { stage in
            let token = try stage.open()
            if isAnswered {
                stage.turn(after: .milliseconds(1), (token, .received([1])))
                stage.write([2], to: token)
                stage.turn((token, .sent(1)))
            } else {
                stage.turn(after: limit)
            }
            _ = stage.delegate.take(token)
            drain(stage)
            #expect(stage.turn() == [])
            #expect(stage.lastWait == quiet)
            stage.turn(after: quiet)
            #expect(stage.turn() == [.close(token)])
            #expect(stage.delegate.take(token) == [.closed("shutdown")])
        }
    }
}
