import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// Connections that break in one direction while the other still carries data.
@Suite struct LoopBrokenTests {
    private let reset = SystemError(ECONNRESET, "recv")
    private let brokenSend = QueuedEvent.failed(.send, SystemError(EPIPE, "send"))

    /// Returns a connection that its handler has paused and its loop watches.
    private func makePaused(_ stage: Stage) throws -> Token {
        let token = try stage.open()
        #expect(stage.pause(token) == [.stop(.receive, token)])
        #expect(stage.turn((token, .stopped(.receive))) == [.watch(token)])
        return token
    }

    @Test("a reset that is noticed during a pause ends it: what had come is shown, then the close")
    func resetWhilePaused() throws {
        try withStage { stage in
            let token = try makePaused(stage)
            #expect(stage.turn((token, .hungUp(ECONNRESET))) == [.receive(token)])
            #expect(stage.delegate.take(token) == [])
            #expect(stage.pause(token) == [], "a pause of what is over has no sense")
            #expect(stage.turn((token, .received([1]))) == [])
            // The kernel reports an error once.
            #expect(stage.turn((token, .endOfStream)) == [.close(token)])
            let told: [RecordingDelegate.Told] = [.traffic([1]), .closed("reset ECONNRESET")]
            #expect(stage.delegate.take(token) == told)
        }
    }

    @Test("the end of both sides is no reset: it waits for the end of the pause")
    func endsWhilePaused() throws {
        try withStage { stage in
            let token = try makePaused(stage)
            #expect(stage.turn((token, .hungUp(0))) == [])
            #expect(stage.turn() == [])
            #expect(stage.resume(token) == [.receive(token)])
            #expect(stage.turn((token, .received([1])), (token, .endOfStream)) == [.close(token)])
            #expect(stage.delegate.take(token) == [.traffic([1]), .closed("peer")])
        }
    }

    @Test("bytes that were kept for after a pause are shown before the error that ends it")
    func keptBeforeFailure() throws {
        try withStage { stage in
            let token = try stage.open()
            #expect(stage.pause(token) == [.stop(.receive, token)])
            let requests = stage.turn((token, .received([1])), (token, .failed(.receive, reset)))
            #expect(requests == [.close(token)])
            let told: [RecordingDelegate.Told] = [.traffic([1]), .closed("reset ECONNRESET")]
            #expect(stage.delegate.take(token) == told)
        }
    }

    @Test("a send that fails during a pause leaves it to a hang-up to end it")
    func failedSendWhilePaused() throws {
        try withStage { stage in
            let token = try makePaused(stage)
            #expect(stage.write([1], to: token) == [.send([1], token)])
            #expect(stage.turn((token, brokenSend)) == [.receive(token)])
            #expect(stage.turn((token, .received([2])), (token, .endOfStream)) == [.close(token)])
            let told: [RecordingDelegate.Told] = [.traffic([2]), .closed("reset EPIPE")]
            #expect(stage.delegate.take(token) == told)
        }
    }

    @Test("after a failed send nothing is sent, writable or promised any more")
    func nothingAfterFailedSend() throws {
        try withStage { stage in
            let token = try stage.open()
            let told = Tellings()
            stage.turn(token) { loop, connection in
                [UInt8]([1, 2]).withUnsafeBytes { loop.write(connection, $0) { told.note($0) } }
            }
            #expect(stage.turn((token, brokenSend)) == [])
            #expect(told.all == ["reset EPIPE"])
            #expect(stage.write([3], to: token) == [])
            stage.turn(token) { loop, connection in
                #expect(connection.isWritable == false)
                [UInt8]([4]).withUnsafeBytes { loop.write(connection, $0) { told.note($0) } }
            }
            #expect(stage.turn((token, .endOfStream)) == [.close(token)])
            #expect(told.all == ["reset EPIPE", "local"])
        }
    }

    @Test("with half-closure too a failed send closes, also when the end was told before")
    func failedSendAfterTheEnd() throws {
        var configuration = LoopConfiguration()
        configuration.allowHalfClosure = true
        try withStage(configuration) { stage in
            let token = try stage.open()
            #expect(stage.turn((token, .endOfStream)) == [.watch(token)])
            #expect(stage.write([1], to: token) == [.send([1], token)])
            #expect(stage.turn((token, brokenSend)) == [.close(token)])
            #expect(stage.delegate.take(token) == [.peerEnded, .closed("reset EPIPE")])
        }
    }

    @Test("the end of a peer waits while its connection is busy, and its handler is told once")
    func endWhileBusy() throws {
        try withStage { stage in
            let token = try stage.open()
            stage.turn(token) { $0.setBusy($1, true) }
            #expect(stage.turn((token, .endOfStream)) == [.watch(token)])
            #expect(stage.turn(token) { $0.wake($1) } == [])
            #expect(stage.delegate.take(token) == [.peerEnded, .traffic([])])
            #expect(stage.write([1], to: token) == [.send([1], token)])
            stage.turn(token) { $0.setBusy($1, false) }
            #expect(stage.turn((token, .sent(1))) == [.close(token)])
            #expect(stage.delegate.take(token) == [.closed("peer")])
        }
    }

    @Test("a reset is noticed while an answer is made for a peer that has ended its side")
    func resetWhileBusy() throws {
        try withStage { stage in
            let token = try stage.open()
            stage.turn(token) { $0.setBusy($1, true) }
            #expect(stage.turn((token, .endOfStream)) == [.watch(token)])
            #expect(stage.turn((token, .hungUp(ECONNRESET))) == [.close(token)])
            #expect(stage.delegate.take(token) == [.peerEnded, .closed("reset ECONNRESET")])
        }
    }

    @Test("a reset behind the end of a filter's stream closes at once, as without a filter")
    func resetAfterTheEndOfAStream() throws {
        var configuration = LoopConfiguration()
        configuration.allowHalfClosure = true
        try withSecuredStage(configuration) { secured in
            let token = try secured.open()
            let requests = secured.turn((token, .received(secured.record(.end))))
            #expect(requests == [.stop(.receive, token)])
            #expect(secured.turn((token, .stopped(.receive))) == [.watch(token)])
            #expect(secured.turn((token, .hungUp(ECONNRESET))) == [.close(token)])
            #expect(
                secured.stage.delegate.take(token) == [.peerEnded, .closed("reset ECONNRESET")])
        }
    }

    @Test("a peer that takes no more but goes on sending has its limit")
    func brokenForEver() throws {
        try withStage { stage in
            let token = try stage.open()
            #expect(stage.write([1], to: token) == [.send([1], token)])
            #expect(stage.turn((token, brokenSend)) == [])
            let limit = stage.loop.configuration.closeTimeout
            #expect(stage.turn(after: limit - 1, (token, .received([1]))) == [])
            stage.turn(after: 1)
            #expect(stage.secondLook() == [.close(token)])
            #expect(stage.delegate.take(token) == [.traffic([1]), .closed("reset EPIPE")])
        }
    }

    @Test("an error while its connection is busy waits for nothing")
    func failureWhileBusy() throws {
        try withStage { stage in
            let token = try stage.open()
            stage.turn(token) { $0.setBusy($1, true) }
            #expect(stage.turn((token, .failed(.receive, reset))) == [.close(token)])
            #expect(stage.delegate.take(token) == [.closed("reset ECONNRESET")])
        }
    }

    @Test("what another thread writes with the wake-up goes out before an end of the same turn")
    func messageBesideAnEnd() throws {
        try withStage { stage in
            let token = try stage.open()
            stage.driver.duringWait = {
                stage.remote.run { loop in loop.find(token).map { loop.write($0, [1]) } }
            }
            let requests = stage.turn((token, .endOfStream))
            #expect(requests == [.send([1], token)])
            #expect(stage.turn((token, .sent(1))) == [.close(token)])
        }
    }
}

/// The results passed to `sent` closures.
// Unchecked: a stage has one thread.
private final class Tellings: @unchecked Sendable {
    private(set) var all: [String] = []

    func note(_ cause: CloseCause?) {
        guard let cause else { return all.append("sent") }
        if case .reset(let error) = cause { return all.append("reset \(error.name)") }
        all.append("\(cause)")
    }
}
