import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// A connection's end when answers come late, and the handling of still later completions.
@Suite struct LoopCloseTests {
    @Test("a flight that is answered after the abort: its memory stays until the last word")
    func answerAfterAbort() throws {
        try withStage { stage in
            let token = try stage.open()
            stage.write([1, 2, 3], to: token)
            #expect(stage.abort(token) == [.close(token)])
            #expect(stage.delegate.take(token) == [.closed("local")])
            #expect(stage.loop.chunks.inUse == 1)
            let requests = stage.turn(
                (token, .sent(3)), (token, .received([4])),
                (token, .failed(.receive, SystemError(ECONNRESET, "recv"))))
            #expect(requests == [])
            #expect(stage.delegate.take(token) == [])
            #expect(stage.loop.chunks.inUse == 1)
            #expect(stage.loop.slotsInUse == 1)
            #expect(stage.turn((token, .closed)) == [])
            #expect(stage.delegate.take(token) == [])
            #expect(stage.loop.chunks.inUse == 0)
            #expect(stage.loop.slotsInUse == 0)
        }
    }

    @Test("a flight that fails after the abort is no second end")
    func failureAfterAbort() throws {
        try withStage { stage in
            let token = try stage.open()
            stage.write([1, 2, 3], to: token)
            stage.abort(token)
            let failure = QueuedEvent.failed(.send, SystemError(ECANCELED, "send"))
            #expect(stage.turn((token, failure), (token, .endOfStream)) == [])
            #expect(stage.delegate.take(token) == [.closed("local")])
            #expect(stage.loop.chunks.inUse == 1)
        }
    }

    /// Runs a flush after a send in flight. The only callback is `preWrite`, before each flush.
    private func flush(
        _ token: Token, _ stage: Stage, _ deed: @escaping RecordingDelegate.Deed
    ) -> [Stage.Request] {
        stage.write([1, 2, 3], to: token)
        stage.loop.handlerWantsPreWrite = true
        stage.delegate.onPreWrite = deed
        return stage.turn(token) { $0.flushNow($1) }
    }

    @Test(
        "a close by the last callback before a flush, in which no other is running, has its limit")
    func closedWhileFlushing() throws {
        try withStage { stage in
            let token = try stage.open()
            let requests = flush(token, stage) { $0.close($1, .local) }
            #expect(requests == [])
            stage.turn()
            let quarter = stage.loop.configuration.closeTimeout / 4
            #expect(stage.lastWait == quarter)
            let late = (0..<5).flatMap { _ in stage.turn(after: quarter) }
            #expect(late + stage.secondLook() == [.close(token)])
            #expect(stage.delegate.take(token) == [.closed("timeout")])
        }
    }

    @Test("an abort by that callback closes at once")
    func abortedWhileFlushing() throws {
        try withStage { stage in
            let token = try stage.open()
            let requests = flush(token, stage) { $0.abort($1, .local) }
            #expect(requests == [.close(token)])
            #expect(stage.delegate.take(token) == [.closed("local")])
        }
    }

    @Test("what a callback has gathered before its abort is not sent")
    func abortDropsWhatIsGathered() throws {
        try withStage { stage in
            let token = try stage.open()
            let requests = stage.turn(token) { loop, connection in
                loop.write(connection, [1, 2, 3])
                loop.abort(connection, .local)
                loop.write(connection, [4])
            }
            #expect(requests == [.close(token)])
            #expect(stage.delegate.take(token) == [.closed("local")])
        }
    }

    @Test("a close sends what is written, ends our side, and throws away what comes till the end")
    func lingering() throws {
        try withStage { stage in
            let token = try stage.open()
            let requests = stage.turn(token) { loop, connection in
                loop.write(connection, [1, 2, 3])
                loop.close(connection, .local)
                loop.write(connection, [4])
            }
            #expect(requests == [.send([1, 2, 3], token)])
            #expect(stage.turn((token, .received([5]))) == [])
            #expect(stage.turn((token, .sent(2))) == [.send([3], token)])
            #expect(stage.turn((token, .sent(1))) == [.shutdownWrite(token)])
            // The handler is finished; the descriptor is not.
            #expect(stage.delegate.take(token) == [.closed("local")])
            #expect(stage.turn((token, .received([6]))) == [])
            #expect(stage.turn((token, .endOfStream)) == [.close(token)])
            #expect(stage.delegate.take(token) == [])
        }
    }

    @Test("the peer's end before the last answer: closed at that answer, nobody to linger for")
    func endDuringFlight() throws {
        try withStage { stage in
            let token = try stage.open()
            stage.turn(token) { loop, connection in
                loop.write(connection, [1, 2, 3])
                loop.close(connection, .local)
            }
            #expect(stage.turn((token, .endOfStream)) == [])
            #expect(stage.turn((token, .sent(3))) == [.close(token)])
            #expect(stage.delegate.take(token) == [.closed("local")])
        }
    }

    @Test("a close during a pause whose stop is not answered reads on only after that answer")
    func closeWhileStopping() throws {
        try withStage { stage in
            let token = try stage.open()
            stage.pause(token)
            #expect(stage.close(token) == [.shutdownWrite(token)])
            #expect(stage.turn((token, .received([1]))) == [])
            #expect(stage.turn((token, .stopped(.receive))) == [.receive(token)])
            #expect(stage.turn((token, .endOfStream)) == [.close(token)])
            #expect(stage.delegate.take(token) == [.closed("local")])
        }
    }

    /// Closes a connection whose bytes are in flight, with 100 ms for them.
    private func withUnsentClose(_ body: (Stage, Token) throws -> Void) throws {
        var configuration = LoopConfiguration()
        configuration.closeTimeout = .milliseconds(100)
        try withStage(configuration) { stage in
            let token = try stage.open()
            stage.turn(token) { loop, connection in
                loop.write(connection, [1, 2, 3])
                loop.close(connection, .local)
            }
            try body(stage, token)
        }
    }

    @Test("a flight without progress is aborted when the close's time is up, as a timeout")
    func flightWithoutAnswer() throws {
        try withUnsentClose { stage, token in
            // Progress, which moves the deadline.
            stage.turn(after: .milliseconds(60), (token, .sent(1)))
            // The first check of the send queue, a quarter later, has none to compare with.
            #expect(stage.turn(after: .milliseconds(25)) == [])
            for _ in 0..<3 { #expect(stage.turn(after: .milliseconds(33)) == []) }
            #expect(stage.turn() == [])
            stage.turn(after: .milliseconds(1))
            #expect(stage.secondLook() == [.close(token)])
            #expect(stage.delegate.take(token) == [.closed("timeout")])
        }
    }

    /// Otherwise a byte now and then would keep a connection and its output for ever.
    @Test("input is no progress of a close whose output does not move")
    func flightBesideADrip() throws {
        try withUnsentClose { stage, token in
            var requests: [Stage.Request] = []
            for _ in 0..<12 where !requests.contains(.close(token)) {
                requests += stage.turn(after: .milliseconds(25), (token, .received([9])))
                requests += stage.turn(after: .milliseconds(1))
            }
            #expect(requests.contains(.close(token)), "\(requests)")
            #expect(stage.delegate.take(token) == [.closed("timeout")])
        }
    }

    // MARK: Earlier lives

    @Test("a completion of an earlier life reaches nobody, a descriptor in it is discarded")
    func stale() throws {
        try withStage { stage in
            let first = try stage.open()
            stage.abort(first)
            stage.turn((first, .closed))
            _ = stage.delegate.take(first)
            let heirs = try openUntilReused(first.slot, stage)
            let accepted = try stage.makeDescriptor()
            let requests = stage.turn(
                (first, .received([1])), (first, .sent(1)), (first, .stopped(.receive)),
                (first, .endOfStream), (first, .failed(.receive, SystemError(EIO, "recv"))),
                (first, .accepted(accepted)), (first, .closed))
            #expect(requests == [])
            #expect(stage.remote.counters.staleCompletions.current == 7)
            #expect(!stage.isOpen(accepted))
            #expect(stage.delegate.take(first) == [])
            for heir in heirs { #expect(stage.delegate.take(heir) == []) }
            #expect(stage.loop.slotsInUse == heirs.count)
        }
    }

    @Test("a slot has no other connection before the driver's last word")
    func slotUntilClosed() throws {
        try withStage { stage in
            let token = try stage.open()
            stage.abort(token)
            // More than the vacant slots, so that all of them are reused.
            for _ in 0..<300 {
                let other = try stage.open()
                #expect(other.slot != token.slot)
            }
            #expect(stage.turn((token, .closed)) == [])
            #expect(stage.loop.slotsInUse == 300)
        }
    }

    /// Opens connections until one has this slot. Returns all of them, that one last.
    private func openUntilReused(_ slot: UInt32, _ stage: Stage) throws -> [Token] {
        var tokens: [Token] = []
        for _ in 0..<1_000 where tokens.last?.slot != slot { tokens.append(try stage.open()) }
        #expect(tokens.last?.slot == slot)
        return tokens
    }

    // MARK: A driver that fails

    @Test("a wait that throws ends the loop: everyone is told once, the owner last")
    func failedWait() throws {
        try withStage { stage in
            _ = try stage.startAccepting()
            let (sending, paused, closing) = (
                try stage.open(), try stage.open(), try stage.open()
            )
            stage.write([1, 2, 3], to: sending)
            stage.pause(paused)
            stage.turn((paused, .received([1])))
            stage.abort(closing)
            #expect(stage.delegate.take(closing) == [.closed("local")])
            #expect(stage.owner.take() == [])

            stage.driver.waitError = SystemError(ENOMEM, "wait")
            let goesOn = stage.loop.turn()
            #expect(!goesOn)
            #expect(stage.delegate.take(sending) == [.closed("reset ENOMEM")])
            #expect(stage.delegate.take(paused) == [.closed("reset ENOMEM")])
            #expect(stage.delegate.take(closing) == [])
            // The shutdown callback waits for the other loops.
            #expect(stage.delegate.shutDowns == 0)
            #expect(stage.loop.owesGoodbye)
            #expect(stage.driver.isShutDown)
            let failure = SystemError(ENOMEM, "wait")
            #expect(
                stage.owner.take() == [
                    .driverFailed(ENOMEM), .stopRequested("\(StopCause.failed(failure))"),
                    .acceptingStopped, .drained,
                ])
            #expect(stage.owner.alive == 0)
            #expect(stage.loop.chunks.inUse == 0)
            let isTaken = stage.remote.run { _ in }
            #expect(!isTaken)
            let goesOnLater = stage.loop.turn()
            #expect(!goesOnLater)
        }
    }
}
