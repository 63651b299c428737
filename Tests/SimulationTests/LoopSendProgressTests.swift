import MillraceEventLoop
import MillraceSimulation
import Testing

/// Time-outs of a peer with undelivered output. Bytes that its host accepts from the kernel count
/// as progress, and the server's own activity does not.
@Suite struct LoopSendProgressTests {
    private static let limit: Nanoseconds = .milliseconds(400)

    enum Wait: CaseIterable {
        case idle, write, close

        var configuration: LoopConfiguration {
            var configuration = LoopConfiguration()
            switch self {
            case .idle: configuration.idleTimeout = limit
            case .write: configuration.writeTimeout = limit
            case .close: configuration.closeTimeout = limit
            }
            return configuration
        }
    }

    /// Returns a connection with more output than the kernel holds.
    private func openOwed(_ stage: Stage, _ wait: Wait) throws -> Token {
        let token = try stage.open()
        try stage.leaveInSendQueue([UInt8](repeating: 1, count: 100))
        #expect(stage.write([2], to: token) == [.send([2], token)])
        if wait == .close { stage.close(token) }
        return token
    }

    /// Whether a time-out has passed. An open connection then still waits for its bytes to go out.
    private func hasTimedOut(_ stage: Stage) -> Bool { stage.remote.counters.timeouts.current > 0 }

    /// The milliseconds until the time-out closes the connection.
    private func timeUntilClosed(_ stage: Stage) -> Int? {
        (1...5_000).first { _ in
            stage.turn(after: .milliseconds(1))
            return hasTimedOut(stage)
        }
    }

    @Test("a peer whose host takes a byte now and then is waited for", arguments: Wait.allCases)
    func taking(_ wait: Wait) throws {
        try withStage(wait.configuration) { stage in
            _ = try openOwed(stage, wait)
            for _ in 0..<99 {
                for _ in 0..<35 { stage.turn(after: .milliseconds(10)) }
                #expect(!hasTimedOut(stage))
                #expect(stage.peers[0].read(atMost: 1).count == 1)
            }
            let time = try #require(timeUntilClosed(stage))
            #expect(time >= 400 && time <= 502, "\(time)")
        }
    }

    /// Idle connections are checked seldom, so the silence is known later.
    @Test(
        "a peer whose host takes nothing: the time-out and a quarter, or two idle time-outs",
        arguments: [(Wait.idle, 801), (.write, 501), (.close, 501)])
    func notTaking(_ wait: Wait, most: Int) throws {
        try withStage(wait.configuration) { stage in
            _ = try openOwed(stage, wait)
            let time = try #require(timeUntilClosed(stage))
            #expect(time >= 400 && time <= most + 2, "\(time)")
        }
    }

    @Test("checks of a connection without waiting bytes store nothing")
    func nothingWaits() throws {
        try withStage(Wait.write.configuration) { stage in
            let token = try stage.open()
            func hasExtras() -> Bool? {
                stage.loop.find(token)?.details?.takeUnretainedValue().hasExtras
            }
            for _ in 0..<9 { stage.turn(after: .milliseconds(100)) }
            #expect(hasExtras() == false)
            try stage.leaveInSendQueue([2])
            for _ in 0..<9 { stage.turn(after: .milliseconds(100)) }
            #expect(hasExtras() == true)
        }
    }

    @Test("a busy handler does not keep a peer that takes nothing of what it is owed")
    func busy() throws {
        try withStage(Wait.idle.configuration) { stage in
            let token = try openOwed(stage, .idle)
            stage.turn(token) { $0.setBusy($1, true) }
            let time = try #require(timeUntilClosed(stage))
            #expect(time <= 803, "\(time)")
        }
    }

    @Test("a peer that reads what the kernel holds is not idle, although the loop has sent all")
    func kernelHolds() throws {
        try withStage(Wait.idle.configuration) { stage in
            _ = try stage.open()
            try stage.leaveInSendQueue([1, 2, 3])
            for _ in 0..<3 {
                for _ in 0..<35 { stage.turn(after: .milliseconds(10)) }
                #expect(!hasTimedOut(stage))
                #expect(stage.peers[0].read(atMost: 1).count == 1)
            }
            let time = try #require(timeUntilClosed(stage))
            #expect(time <= 803, "\(time)")
        }
    }
}
