import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// The callbacks and requests of one connection, with completions in an order that a test cannot
/// get from a kernel.
@Suite struct LoopOrderTests {
    private let long = [UInt8](repeating: 7, count: 20)

    /// Low marks, so that `long` exceeds them.
    private var congestible: LoopConfiguration {
        var configuration = LoopConfiguration()
        configuration.outboundHighMark = 10
        configuration.outboundLowMark = 4
        return configuration
    }

    private var halfClosing: LoopConfiguration {
        var configuration = LoopConfiguration()
        configuration.allowHalfClosure = true
        return configuration
    }

    // MARK: Back-pressure

    /// Returns a connection that does not read, because `long` is being sent.
    private func makeThrottled(_ stage: Stage) throws -> Token {
        let token = try stage.open()
        let long = long
        stage.delegate.onTraffic = { loop, connection, _ in loop.write(connection, long) }
        let requests = stage.turn((token, .received([1])))
        #expect(requests == [.send(long, token), .stop(.receive, token)])
        #expect(stage.delegate.take(token) == [.traffic([1])])
        stage.delegate.onTraffic = nil
        return token
    }

    // A stream receives available input before it can be stopped, so each such start would leave
    // more unread.
    @Test(
        "a relief whose callback fills the queue again does not start reading",
        arguments: [true, false])
    func refilledRelief(asksBeforeWriting: Bool) throws {
        try withStage(congestible) { stage in
            stage.loop.handlerWantsPreWrite = asksBeforeWriting
            let token = try makeThrottled(stage)
            #expect(stage.turn((token, .stopped(.receive))) == [.watch(token)])
            let long = long
            stage.delegate.onWritable = { loop, connection in loop.write(connection, long) }
            for _ in 0..<3 {
                #expect(stage.turn((token, .sent(20))) == [.send(long, token)])
                #expect(stage.delegate.take(token) == [.writable])
            }
            stage.delegate.onWritable = nil
            #expect(stage.turn((token, .sent(20))) == [.receive(token)])
            #expect(stage.delegate.take(token) == [.writable])
        }
    }

    @Test("a relief at the low mark, not before it")
    func reliefAtTheLowMark() throws {
        try withStage(congestible) { stage in
            let token = try makeThrottled(stage)
            #expect(stage.turn((token, .stopped(.receive))) == [.watch(token)])
            let five = Array(long.prefix(5))
            #expect(stage.turn((token, .sent(15))) == [.send(five, token)])
            #expect(stage.delegate.take(token) == [])
            let four = Array(long.prefix(4))
            #expect(stage.turn((token, .sent(1))) == [.send(four, token), .receive(token)])
            #expect(stage.delegate.take(token) == [.writable])
        }
    }

    @Test("a relief before the stop is answered starts reading only after that answer")
    func reliefBeforeStopped() throws {
        try withStage(congestible) { stage in
            let token = try makeThrottled(stage)
            #expect(stage.turn((token, .sent(20))) == [])
            #expect(stage.delegate.take(token) == [.writable])
            #expect(stage.turn((token, .received([2]))) == [])
            #expect(stage.delegate.take(token) == [.traffic([2])])
            #expect(stage.turn((token, .stopped(.receive))) == [.receive(token)])
        }
    }

    @Test("bytes and an end that come while throttled are told after the relief, in order")
    func lateWhileThrottled() throws {
        try withStage(congestible) { stage in
            let token = try makeThrottled(stage)
            stage.turn((token, .received([2])), (token, .received([3])), (token, .endOfStream))
            #expect(stage.delegate.take(token) == [])
            #expect(stage.turn((token, .sent(20))) == [.close(token)])
            #expect(stage.delegate.take(token) == [.writable, .traffic([2, 3]), .closed("peer")])
        }
    }

    // MARK: Pausing

    @Test("an end that comes alone during a pause is told after it")
    func endWhilePaused() throws {
        try withStage { stage in
            let token = try stage.open()
            #expect(stage.pause(token) == [.stop(.receive, token)])
            stage.turn((token, .endOfStream))
            #expect(stage.delegate.take(token) == [])
            stage.resume(token)
            #expect(stage.delegate.take(token) == [.closed("peer")])
        }
    }

    @Test("bytes and an end that come after the stop are told after the pause, in order")
    func lateWhilePaused() throws {
        try withStage(halfClosing) { stage in
            let token = try stage.open()
            stage.delegate.onTraffic = { loop, connection, bytes in
                if bytes == [1] { loop.pauseReading(connection) }
            }
            let requests = stage.turn(
                (token, .received([1])), (token, .received([2])), (token, .received([3, 4])),
                (token, .endOfStream))
            #expect(requests == [.stop(.receive, token), .watch(token)])
            #expect(stage.delegate.take(token) == [.traffic([1])])
            // No receive to start: the stream has ended by itself.
            #expect(stage.resume(token) == [])
            #expect(stage.delegate.take(token) == [.traffic([2, 3, 4]), .peerEnded])
        }
    }

    @Test("a handler that pauses again at the late bytes is not told the end behind them")
    func pausedAgain() throws {
        try withStage(halfClosing) { stage in
            let token = try stage.open()
            stage.delegate.onTraffic = { loop, connection, _ in loop.pauseReading(connection) }
            stage.turn((token, .received([1])), (token, .received([2])), (token, .endOfStream))
            stage.resume(token)
            #expect(stage.delegate.take(token) == [.traffic([1]), .traffic([2])])
            stage.resume(token)
            #expect(stage.delegate.take(token) == [.peerEnded])
        }
    }

    @Test("a pause that is over before the stop is answered: reading starts after that answer")
    func resumedBeforeStopped() throws {
        try withStage { stage in
            let token = try stage.open()
            #expect(stage.pause(token) == [.stop(.receive, token)])
            #expect(stage.resume(token) == [])
            #expect(stage.turn((token, .received([1]))) == [])
            #expect(stage.delegate.take(token) == [.traffic([1])])
            #expect(stage.turn((token, .stopped(.receive))) == [.receive(token)])
        }
    }

    @Test("a pause between resume and answer: one stop, and its answer starts nothing")
    func pausedTwice() throws {
        try withStage { stage in
            let token = try stage.open()
            #expect(stage.pause(token) == [.stop(.receive, token)])
            #expect(stage.resume(token) == [])
            #expect(stage.pause(token) == [])
            let late = stage.turn((token, .received([1])), (token, .stopped(.receive)))
            #expect(late == [.watch(token)])
            #expect(stage.delegate.take(token) == [])
            #expect(stage.resume(token) == [.receive(token)])
            #expect(stage.delegate.take(token) == [.traffic([1])])
        }
    }

    @Test("kept bytes come before those of the turn in which reading goes on, and nothing is left")
    func resumedInTheMiddle() throws {
        try withStage { stage in
            let (paused, other) = (try stage.open(), try stage.open())
            stage.pause(paused)
            stage.turn((paused, .received([1])))
            stage.delegate.onTraffic = { loop, connection, _ in
                guard connection.token == other else { return }
                if let connection = loop.find(paused) { loop.resumeReading(connection) }
            }
            stage.turn(
                (other, .received([9])), (paused, .received([2])), (paused, .received([3])))
            // The pending bytes were delivered with the later ones, and cause no further callback.
            #expect(stage.delegate.take(paused) == [.traffic([1, 2]), .traffic([3])])
        }
    }

    // MARK: Sending

    @Test("what a callback writes to another connection goes out after it, each once")
    func writesElsewhere() throws {
        try withStage { stage in
            let (token, other) = (try stage.open(), try stage.open())
            stage.delegate.onTraffic = { loop, connection, bytes in
                loop.write(connection, bytes)
                if let second = loop.find(other) { loop.write(second, bytes) }
            }
            // Twice: the second round uses the memory that the first reply returned.
            for round in [UInt8(1), 2] {
                let requests = stage.turn((token, .received([round])))
                #expect(requests == [.send([round], token), .send([round], other)])
                #expect(stage.turn((token, .sent(1)), (other, .sent(1))) == [])
                #expect(stage.delegate.take(token) == [.traffic([round])])
                #expect(stage.delegate.take(other) == [])
            }
        }
    }

    @Test("a write during a flight waits for the answer", arguments: [true, false])
    func oneFlight(asksBeforeWriting: Bool) throws {
        try withStage { stage in
            stage.loop.handlerWantsPreWrite = asksBeforeWriting
            let token = try stage.open()
            #expect(stage.write([1, 2, 3], to: token) == [.send([1, 2, 3], token)])
            #expect(stage.write([4], to: token) == [])
            #expect(stage.write([5], to: token) == [])
            #expect(stage.turn((token, .sent(3))) == [.send([4, 5], token)])
            #expect(stage.turn((token, .sent(2))) == [])
            #expect(stage.loop.chunks.inUse == 0)
            #expect(stage.remote.counters.bytesOut.current == 5)
        }
    }

    @Test("a short answer goes on with the rest, and what was written meanwhile behind it")
    func shortAnswers() throws {
        try withStage { stage in
            let token = try stage.open()
            // More than one chunk, so that other bytes lie between a rest and the bytes written
            // later.
            let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 / 251) }
            var requests = stage.write(bytes, to: token)
            #expect(stage.write([1, 2, 3], to: token) == [])
            var taken: [UInt8] = []
            for _ in 0..<100 {
                guard case .send(let asked, token) = requests.first else { break }
                #expect(requests.count == 1)
                let count = min(asked.count, 9_999)
                taken += asked.prefix(count)
                requests = stage.turn((token, .sent(count)))
            }
            #expect(requests == [])
            #expect(taken == bytes + [1, 2, 3])
            #expect(stage.loop.chunks.inUse == 0)
        }
    }

    @Test("our end waits for the answer of a flight, and of the rest of a short one")
    func endBehindFlight() throws {
        try withStage(halfClosing) { stage in
            let token = try stage.open()
            stage.write([1, 2, 3], to: token)
            #expect(stage.shutdownWrite(token) == [])
            #expect(stage.write([4], to: token) == [])
            #expect(stage.turn((token, .sent(1))) == [.send([2, 3], token)])
            #expect(stage.turn((token, .sent(2))) == [.shutdownWrite(token)])
            #expect(stage.turn((token, .received([5]))) == [])
            #expect(stage.turn((token, .endOfStream)) == [.close(token)])
            let told: [RecordingDelegate.Told] = [.traffic([5]), .peerEnded, .closed("peer")]
            #expect(stage.delegate.take(token) == told)
        }
    }

    @Test("a send that fails ends the writing side: what has come is shown, then the close")
    func failedFlight() throws {
        try withStage { stage in
            let token = try stage.open()
            stage.write([1, 2, 3], to: token)
            stage.write([4], to: token)
            let failure = QueuedEvent.failed(.send, SystemError(EPIPE, "send"))
            let requests = stage.turn(
                (token, failure), (token, .received([5])),
                (token, .failed(.receive, SystemError(ECONNRESET, "recv"))))
            #expect(requests == [.close(token)])
            #expect(stage.delegate.take(token) == [.traffic([5]), .closed("reset EPIPE")])
            #expect(stage.turn((token, .closed)) == [])
            #expect(stage.loop.chunks.inUse == 0)
        }
    }
}
