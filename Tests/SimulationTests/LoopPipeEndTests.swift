import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// The connections of a pipe that end together: at a stop, or by the time-out of both.
@Suite struct LoopPipeEndTests {
    private let quiet = Nanoseconds.milliseconds(20)
    private let limit = Nanoseconds.milliseconds(1_000)

    private struct Pair {
        let stage: Stage
        let source: Token
        let target: Token
        let descriptors: [Descriptor]

        /// Whether the peer of the source, or of the target, gets a reset.
        func resets(_ index: Int) -> Bool { stage.network.resetsOnClose(descriptors[index]) }
    }

    /// Runs `body` with a source that is piped to a target. Both peers have sent and received
    /// bytes, and more than 10 bytes in the target hold the source back.
    private func withPipe(
        inBothDirections: Bool = true, idle: Nanoseconds? = nil, read: Nanoseconds? = nil,
        _ body: (Pair) throws -> Void
    ) throws {
        var configuration = LoopConfiguration()
        configuration.outboundHighMark = 10
        configuration.outboundLowMark = 4
        configuration.idleTimeout = idle
        configuration.readTimeout = read
        try withStage(configuration) { stage in
            let (source, target) = (try open(stage), try open(stage))
            stage.turn(source) { loop, source in
                guard let target = loop.find(target) else { return }
                loop.pipe(source, to: target)
                if inBothDirections { loop.pipe(target, to: source) }
            }
            let found = try [source, target].map { try #require(stage.loop.find($0)).descriptor }
            try body(Pair(stage: stage, source: source, target: target, descriptors: found))
        }
    }

    private func open(_ stage: Stage) throws -> Token {
        let token = try stage.open()
        stage.turn(after: 1, (token, .received([0])))
        stage.write([0], to: token)
        stage.turn((token, .sent(1)))
        _ = stage.delegate.take(token)
        return token
    }

    @Test("a stop at half of its time: the target of a moving source gets what came, and a reset")
    func stopWhileItMoves() throws {
        try withPipe { pair in
            let stage = pair.stage
            stage.turn(message: .drain(within: limit))
            // The target's own peer is silent from the beginning.
            for _ in 0..<49 {
                let piece = stage.turn(
                    after: .milliseconds(10), (pair.source, .received([7])))
                #expect(piece == [.send([7], pair.target)])
                #expect(stage.turn((pair.target, .sent(1))) == [])
            }
            stage.turn(after: .milliseconds(10), (pair.source, .received([7])))
            stage.turn()
            #expect(stage.delegate.take(pair.source) == [.closed("shutdown")])
            let last = stage.turn((pair.target, .sent(1))) + stage.turn()
            #expect(last.contains(.close(pair.target)))
            #expect(stage.delegate.take(pair.target) == [.closed("shutdown")])
            #expect(pair.resets(1))
        }
    }

    @Test("a target whose peer takes nothing for a moment is not quiet while its source moves")
    func stopBesideASlowTarget() throws {
        try withPipe { pair in
            let stage = pair.stage
            stage.turn((pair.source, .received([7])))
            stage.turn(message: .drain(within: limit))
            for _ in 0..<6 {
                stage.turn(after: .milliseconds(10), (pair.source, .received([7])))
                stage.turn()
            }
            #expect(stage.delegate.take(pair.target) == [])
            stage.turn((pair.target, .sent(1)))
            stage.turn((pair.target, .sent(6)))
            #expect(stage.delegate.take(pair.target) == [])
        }
    }

    @Test("a source that a slow target holds back is not quiet, and its target gets a reset")
    func stopWhileTheTargetIsFull() throws {
        try withPipe { pair in
            let stage = pair.stage
            let long = [UInt8](repeating: 7, count: 20)
            stage.turn((pair.source, .received(long)))
            stage.turn((pair.source, .stopped(.receive)), (pair.target, .stopped(.receive)))
            stage.turn(after: .milliseconds(1_000))
            stage.turn(message: .drain(within: limit))
            for _ in 0..<49 { stage.turn(after: .milliseconds(10)) }
            #expect(stage.delegate.take(pair.source) == [])
            #expect(stage.delegate.take(pair.target) == [])
            stage.turn(after: .milliseconds(10))
            stage.turn()
            #expect(stage.delegate.take(pair.source) == [.closed("shutdown")])
            stage.turn((pair.target, .sent(20)))
            stage.turn()
            #expect(stage.delegate.take(pair.target) == [.closed("shutdown")])
            #expect(pair.resets(1))
        }
    }

    @Test("bytes that come behind a stop's close, while the last output is sent, make it a cut")
    func bytesBehindTheClose() throws {
        try withPipe { pair in
            let stage = pair.stage
            // Unsent output on both sides delays their ends.
            stage.turn((pair.target, .received([1])), (pair.source, .received([7, 7])))
            stage.turn(message: .drain(within: limit * 4))
            stage.turn(after: .milliseconds(1_000))
            stage.turn()
            stage.turn((pair.source, .received([7])))
            stage.turn((pair.source, .endOfStream), (pair.source, .sent(1)))
            stage.turn()
            #expect(stage.delegate.take(pair.source) == [.closed("shutdown")])
            stage.turn((pair.target, .sent(2)))
            stage.turn()
            #expect(pair.resets(1))
        }
    }

    @Test("a stop ends a quiet pipe with an end on both sides, not with resets")
    func stopOfAQuietPipe() throws {
        try withPipe { pair in
            let stage = pair.stage
            stage.turn(after: .milliseconds(1_000))
            stage.turn(message: .drain(within: limit))
            stage.turn(after: quiet)
            stage.turn()
            #expect(stage.delegate.take(pair.source) == [.closed("shutdown")])
            #expect(stage.delegate.take(pair.target) == [.closed("shutdown")])
            #expect(!pair.resets(0) && !pair.resets(1))
        }
    }

    /// A far source may be silent for a round trip in the middle of its stream.
    @Test("a pipe is quiet after a second, and one that is closed before that gets a reset")
    func stopOfAFarPipe() throws {
        for time in [limit, limit * 4] {
            try withPipe { pair in
                let stage = pair.stage
                stage.turn((pair.source, .received([7])))
                stage.turn((pair.target, .sent(1)))
                stage.turn(message: .drain(within: time))
                let end = min(time / 2, .milliseconds(1_000))
                stage.turn(after: end - 1)
                stage.turn()
                #expect(stage.delegate.take(pair.source) == [])
                stage.turn(after: 1)
                stage.turn()
                #expect(stage.delegate.take(pair.source) == [.closed("shutdown")])
                #expect(stage.delegate.take(pair.target) == [.closed("shutdown")])
                #expect(pair.resets(1) == (time == limit))
            }
        }
    }

    @Test("both connections of a pipe that has been idle for too long get a reset")
    func idleTogether() throws {
        try withPipe(idle: .milliseconds(400)) { pair in
            let stage = pair.stage
            stage.turn((pair.source, .received([7])))
            stage.turn((pair.target, .sent(1)))
            for _ in 0..<45 { stage.turn(after: .milliseconds(10)) }
            #expect(stage.delegate.take(pair.source) == [.closed("timeout")])
            #expect(stage.delegate.take(pair.target) == [.closed("timeout")])
            #expect(pair.resets(0) && pair.resets(1))
        }
    }

    // MARK: A target that closes first

    /// A client that only downloads is silent, which the read time-out ends.
    @Test("a target that closes by its time-out while its source sends gets a reset, not an end")
    func silentTarget() throws {
        try withPipe(read: .milliseconds(400)) { pair in
            let stage = pair.stage
            for step in 0..<60 where stage.remote.counters.timeouts.current == 0 {
                stage.turn(after: .milliseconds(10))
                if step % 10 == 0 { stage.turn((pair.source, .received([7]))) }
            }
            #expect(stage.delegate.take(pair.target) == [])
            var requests = stage.turn((pair.target, .sent(1)))
            while case .send(let bytes, pair.target) = requests.first {
                requests = stage.turn((pair.target, .sent(bytes.count)))
            }
            #expect(stage.delegate.take(pair.target) == [.closed("timeout")])
            #expect(stage.delegate.take(pair.source) == [.closed("timeout")])
            #expect(pair.resets(1))
        }
    }

    private struct Failure: Error {}

    private static let cuts: [CloseCause] = [
        .timeout, .handlerError(Failure()), .inboundOverflow, .reset(SystemError(EIO, "recv")),
    ]

    /// Closes the target while a byte for it is in flight, and returns whether its peer then gets a
    /// reset.
    private func isReset(_ pair: Pair, by cause: CloseCause) -> Bool {
        let stage = pair.stage
        stage.turn(pair.target) { $0.close($1, cause) }
        #expect(stage.delegate.take(pair.target) == [])
        stage.turn((pair.target, .sent(1)))
        #expect(stage.delegate.take(pair.target).count == 1)
        return pair.resets(1)
    }

    @Test(
        "a target that is cut while its source may send more gets a reset",
        arguments: cuts, [true, false])
    func cutTarget(_ cause: CloseCause, inBothDirections: Bool) throws {
        try withPipe(inBothDirections: inBothDirections) { pair in
            pair.stage.turn((pair.source, .received([7])))
            #expect(isReset(pair, by: cause))
        }
    }

    @Test("a target that its own handler closes gets an end, whatever its source would bring")
    func closedTarget() throws {
        try withPipe { pair in
            pair.stage.turn((pair.source, .received([7])))
            #expect(!isReset(pair, by: .local))
        }
    }

    @Test("a target that is cut behind the end of its source has everything, and gets an end")
    func cutBehindTheEnd() throws {
        for cause in Self.cuts {
            try withPipe { pair in
                pair.stage.turn((pair.source, .received([7])), (pair.source, .endOfStream))
                #expect(!isReset(pair, by: cause))
            }
        }
    }

    @Test("the end of a source that a full target holds back is the end of all its bytes")
    func cutBehindAnEndThatWaits() throws {
        try withPipe { pair in
            let stage = pair.stage
            let long = [UInt8](repeating: 7, count: 20)
            stage.turn((pair.source, .received(long)), (pair.source, .endOfStream))
            stage.turn(pair.target) { $0.close($1, .timeout) }
            stage.turn((pair.target, .sent(20)))
            #expect(stage.delegate.take(pair.target).count == 1)
            #expect(!pair.resets(1))
        }
    }

    @Test("the last bytes of a target that its handler has closed end, also if the source is cut")
    func sourceCutBehindTheClose() throws {
        for cause in Self.cuts {
            try withPipe { pair in
                let stage = pair.stage
                stage.turn((pair.source, .received([7])))
                stage.close(pair.target)
                stage.turn(pair.source) { $0.close($1, cause) }
                stage.turn((pair.target, .sent(1)))
                #expect(stage.delegate.take(pair.target) == [.closed("local")])
                #expect(!pair.resets(1))
            }
        }
    }

    // MARK: Another target

    /// Pipes a source to another target in the turn in which the first one is cut. Returns whether
    /// the source's peer gets a reset after a close by its handler.
    private func isResetBehindAMove(feedingBack: Bool) throws -> Bool {
        var isReset = false
        try withPipe(inBothDirections: feedingBack) { pair in
            let stage = pair.stage
            let (first, second) = (pair.target, try open(stage))
            stage.turn((pair.source, .received([7])))
            stage.turn(pair.source) { loop, source in
                guard let first = loop.find(first), let second = loop.find(second) else { return }
                loop.close(first, .timeout)
                loop.pipe(source, to: second)
            }
            #expect(stage.delegate.take(pair.source) == [])
            #expect(stage.turn((pair.source, .received([8]))) == [.send([8], second)])
            stage.turn(pair.source) { loop, source in
                loop.write(source, [1])
                loop.close(source, .local)
            }
            stage.turn((pair.source, .sent(1)))
            #expect(stage.delegate.take(pair.source) == [.closed("local")])
            isReset = pair.resets(0)
        }
        return isReset
    }

    @Test("a source that left its target in the turn of its cut ends like any other")
    func movedFromACutTarget() throws {
        #expect(try !isResetBehindAMove(feedingBack: false))
    }

    @Test("a source whose own stream came from the target that was cut gets a reset")
    func movedWithACutStream() throws {
        #expect(try isResetBehindAMove(feedingBack: true))
    }
}
