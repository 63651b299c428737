import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// A descriptor after its handler's last callback: how long it stays open, and for which peers.
@Suite struct LoopLingerTests {
    private let quiet = Nanoseconds.milliseconds(20)
    private let limit = Nanoseconds.milliseconds(200)

    private struct NotClosed: Error {}

    private var configuration: LoopConfiguration {
        var configuration = LoopConfiguration()
        configuration.lingerTimeout = limit
        return configuration
    }

    /// Returns a connection that its handler has closed while its peer may still be sending.
    private func openLingering(_ stage: Stage) throws -> Token {
        let token = try stage.open()
        stage.turn((token, .received([1])))
        #expect(stage.close(token) == [.shutdownWrite(token)])
        #expect(stage.delegate.take(token) == [.traffic([1]), .closed("local")])
        #expect(stage.remote.counters.lingering.current == 1)
        return token
    }

    /// Returns the time until the close request, in steps of a millisecond. With `drip` the peer
    /// sends a byte every `drip` steps.
    private func timeUntilClosed(
        _ token: Token, _ stage: Stage, drip: Int? = nil
    ) throws -> Nanoseconds {
        let start = stage.driver.now
        for step in 1...1_000 {
            let before = stage.driver.now
            let requests: [Stage.Request]
            if let drip, step % drip == 0 {
                requests = stage.turn(after: .milliseconds(1), (token, .received([1])))
            } else {
                requests = stage.turn(after: .milliseconds(1))
            }
            if requests.contains(.close(token)) { return before - start }
        }
        throw NotClosed()
    }

    // MARK: No peer to wait for

    @Test("a peer that is quiet and has everything: closed at once")
    func nothingInTheWay() throws {
        try withStage { stage in
            let token = try stage.open()
            stage.turn(after: quiet)
            #expect(stage.close(token) == [.close(token)])
            #expect(stage.delegate.take(token) == [.closed("local")])
            #expect(stage.remote.counters.lingering.current == 0)
            #expect(stage.remote.counters.open == 0)
        }
    }

    @Test("recent input: the handler is told at once, the close waits for 20 ms of silence")
    func recentInput() throws {
        try withStage { stage in
            let token = try openLingering(stage)
            let descriptor = try #require(stage.network.openDescriptors.last)
            // The handler is finished and `open` does not count the connection, but its descriptor
            // needs a slot.
            #expect(stage.remote.counters.open == 0)
            #expect(stage.owner.alive == 1)
            #expect(stage.loop.slotsInUse == 1)
            #expect(stage.turn(after: quiet - 1) == [])
            #expect(stage.turn() == [])
            #expect(stage.lastWait == 1)
            #expect(stage.turn(after: 1) == [])
            #expect(stage.turn() == [.close(token)])
            #expect(!stage.network.resetsOnClose(descriptor))
            #expect(stage.remote.counters.lingering.current == 0)
            #expect(stage.turn((token, .closed)) == [])
            #expect(stage.delegate.take(token) == [])
            #expect(stage.remote.counters.open == 0)
            #expect(stage.owner.alive == 0)
            #expect(stage.loop.slotsInUse == 0)
        }
    }

    @Test("the peer's end, or an error: closed at once, and told no second time")
    func endWhileLingering() throws {
        let reset = QueuedEvent.failed(.receive, SystemError(ECONNRESET, "recv"))
        for end in [QueuedEvent.endOfStream, reset] {
            try withStage { stage in
                let token = try openLingering(stage)
                #expect(stage.turn((token, end)) == [.close(token)])
                #expect(stage.turn((token, .closed)) == [])
                #expect(stage.delegate.take(token) == [])
                #expect(stage.remote.counters.lingering.current == 0)
                #expect(stage.loop.slotsInUse == 0)
            }
        }
    }

    // MARK: A peer to wait for, with a limit

    @Test("bytes that the peer's host does not have: the linger time, if all are silent")
    func unacknowledged() throws {
        try withStage(configuration) { stage in
            let token = try openLingering(stage)
            try stage.leaveInSendQueue([1, 2, 3])
            let time = try timeUntilClosed(token, stage)
            #expect(time >= limit && time <= limit + limit / 10, "\(time)")
        }
    }

    @Test("once its host has them, the next look closes")
    func acknowledgedLater() throws {
        try withStage(configuration) { stage in
            let token = try openLingering(stage)
            try stage.leaveInSendQueue([1, 2, 3])
            #expect(stage.turn(after: quiet * 2) == [])
            #expect(stage.turn() == [])
            #expect(stage.peers[0].read() == [1, 2, 3])
            let time = try timeUntilClosed(token, stage)
            #expect(time <= limit / 2, "\(time)")
        }
    }

    @Test("input that nobody has received yet is in the way as well")
    func unreadInTheKernel() throws {
        try withStage(configuration) { stage in
            let token = try stage.open()
            stage.turn(after: quiet)
            stage.peers[0].send([1])
            #expect(stage.close(token) == [.shutdownWrite(token)])
            let time = try timeUntilClosed(token, stage)
            #expect(time >= limit && time <= limit + limit / 10, "\(time)")
        }
    }

    /// The driver has received these bytes, so the socket no longer reports them.
    @Test("input that is behind the last sent bytes in the driver is in the way as well")
    func unreadInTheDriver() throws {
        try withStage(configuration) { stage in
            let token = try stage.open()
            stage.turn(after: quiet)
            stage.write([1], to: token)
            #expect(stage.close(token) == [])
            let requests = stage.turn((token, .sent(1)), (token, .received([2])))
            #expect(requests == [.shutdownWrite(token)])
            let time = try timeUntilClosed(token, stage)
            #expect(time >= limit && time <= limit + limit / 10, "\(time)")
        }
    }

    @Test("a peer that has sent since the close is waited for until it was silent for long")
    func sendingNowAndThen() throws {
        try withStage(configuration) { stage in
            let token = try openLingering(stage)
            stage.turn(after: .milliseconds(1), (token, .received([2])))
            let time = try timeUntilClosed(token, stage)
            #expect(time >= limit && time <= limit + limit / 10, "\(time)")
        }
    }

    @Test("a peer that goes on sending has twice the linger time, and no more")
    func dripping() throws {
        try withStage(configuration) { stage in
            let token = try openLingering(stage)
            let time = try timeUntilClosed(token, stage, drip: 10)
            #expect(time > limit && time <= limit * 2, "\(time)")
            #expect(stage.delegate.take(token) == [])
        }
    }

    @Test("a drain's deadline closes who still lingers, and tells no handler again")
    func drainDeadline() throws {
        try withStage { stage in
            let token = try openLingering(stage)
            let descriptor = try #require(stage.network.openDescriptors.last)
            try stage.leaveInSendQueue([1, 2, 3])
            stage.turn(message: .drain(within: limit))
            #expect(stage.turn(after: limit - 1) == [])
            #expect(stage.turn() == [])
            #expect(stage.owner.take() == [])
            // The kernel still delivers the sent bytes, which a reset would destroy.
            #expect(stage.turn(after: 1) == [.close(token)])
            #expect(!stage.network.resetsOnClose(descriptor))
            #expect(stage.owner.take() == [])
            #expect(stage.turn((token, .closed)) == [])
            #expect(stage.owner.take() == [.drained])
            #expect(stage.delegate.take(token) == [])
            #expect(stage.remote.counters.lingering.current == 0)
        }
    }

    @Test("a driver that fails while somebody lingers tells no handler again")
    func failedWait() throws {
        try withStage { stage in
            let token = try openLingering(stage)
            stage.driver.waitError = SystemError(ENOMEM, "wait")
            _ = stage.loop.turn()
            #expect(stage.delegate.take(token) == [])
            #expect(stage.remote.counters.lingering.current == 0)
            #expect(stage.loop.slotsInUse == 0)
        }
    }
}
