import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// Pipes when one side is slow, ends or breaks in the middle.
@Suite struct LoopPipeTests {
    private let long = [UInt8](repeating: 7, count: 20)

    /// Runs `body` with a source that is piped to a target. `long` exceeds the target's high mark.
    private func withPipe(
        inBothDirections: Bool = false, idle: Nanoseconds? = nil,
        _ body: (Stage, _ source: Token, _ target: Token) throws -> Void
    ) throws {
        var configuration = LoopConfiguration()
        configuration.outboundHighMark = 10
        configuration.outboundLowMark = 4
        configuration.idleTimeout = idle
        try withStage(configuration) { stage in
            let (source, target) = (try stage.open(), try stage.open())
            let requests = stage.turn(source) { loop, source in
                guard let target = loop.find(target) else { return }
                loop.pipe(source, to: target)
                if inBothDirections { loop.pipe(target, to: source) }
            }
            #expect(requests == [])
            try body(stage, source, target)
        }
    }

    /// Stops both: the source because its target is full, the target because its peer does not
    /// read.
    private func fill(_ stage: Stage, _ source: Token, _ target: Token) {
        let requests = stage.turn((source, .received(long)))
        #expect(
            requests == [.send(long, target), .stop(.receive, target), .stop(.receive, source)])
    }

    @Test("a full target stops its source, whose late bytes go behind, and relief starts it again")
    func full() throws {
        try withPipe { stage, source, target in
            fill(stage, source, target)
            let late = stage.turn((source, .received([1])), (source, .stopped(.receive)))
            #expect(late == [.watch(source)])
            let relieved = stage.turn((target, .sent(20)))
            #expect(relieved == [.send([1], target), .receive(source)])
            #expect(stage.turn((source, .received([2]))) == [])
            #expect(stage.turn((target, .sent(1))) == [.send([2], target)])
            #expect(stage.delegate.take(source) == [])
        }
    }

    @Test("a relief before the source's stop is answered starts it only after that answer")
    func reliefBeforeStopped() throws {
        try withPipe { stage, source, target in
            fill(stage, source, target)
            #expect(stage.turn((target, .sent(20))) == [])
            #expect(stage.turn((source, .received([1]))) == [.send([1], target)])
            #expect(stage.turn((source, .stopped(.receive))) == [.receive(source)])
        }
    }

    @Test("the end of a resting source passes on behind its bytes, and it closes with its target")
    func endWhileFull() throws {
        try withPipe { stage, source, target in
            fill(stage, source, target)
            let end = stage.turn((source, .received([1])), (source, .endOfStream))
            #expect(end == [.watch(source)])
            #expect(stage.turn((target, .sent(20))) == [.send([1], target)])
            #expect(stage.turn((target, .stopped(.receive))) == [.receive(target)])
            #expect(stage.turn((target, .sent(1))) == [.shutdownWrite(target)])
            #expect(stage.delegate.take(source) == [])
            #expect(stage.turn((target, .endOfStream)) == [.close(target), .close(source)])
            #expect(stage.delegate.take(target) == [.writable, .closed("peer")])
            #expect(stage.delegate.take(source) == [.closed("peer")])
        }
    }

    @Test("in both directions one end leaves the other way open until its own")
    func bothDirections() throws {
        try withPipe(inBothDirections: true) { stage, source, target in
            let end = stage.turn((source, .endOfStream))
            #expect(end == [.watch(source), .shutdownWrite(target)])
            #expect(stage.turn((target, .received([1]))) == [.send([1], source)])
            #expect(stage.turn((target, .endOfStream)) == [.close(target)])
            #expect(stage.delegate.take(target) == [.closed("peer")])
            // The last bytes to the source are in flight.
            #expect(stage.delegate.take(source) == [])
            #expect(stage.turn((source, .sent(1))) == [.close(source)])
            #expect(stage.delegate.take(source) == [.closed("peer")])
        }
    }

    @Test("a target that breaks is read to its end; then its source is cut as it was")
    func brokenTarget() throws {
        try withPipe { stage, source, target in
            fill(stage, source, target)
            let failure = QueuedEvent.failed(.send, SystemError(EPIPE, "send"))
            #expect(stage.turn((target, failure), (source, .received([1]))) == [])
            #expect(stage.turn((source, .stopped(.receive))) == [.receive(source)])
            #expect(stage.turn((target, .stopped(.receive))) == [.receive(target)])
            let ends = stage.turn((target, .received([9])), (target, .endOfStream))
            #expect(ends == [.close(target), .close(source)])
            #expect(stage.delegate.take(target) == [.traffic([9]), .closed("reset EPIPE")])
            #expect(stage.delegate.take(source) == [.closed("reset EPIPE")])
        }
    }

    @Test("a source that is cut: its target gets what came, and then a reset, not an end")
    func cutSource() throws {
        try withPipe { stage, source, target in
            let descriptor = try #require(stage.loop.find(target)).descriptor
            let failure = QueuedEvent.failed(.receive, SystemError(ECONNRESET, "recv"))
            let requests = stage.turn((source, .received([1])), (source, failure))
            #expect(requests == [.send([1], target), .close(source)])
            #expect(stage.delegate.take(target) == [])
            #expect(stage.turn((target, .sent(1))) == [.close(target)])
            #expect(stage.delegate.take(target) == [.closed("reset ECONNRESET")])
            #expect(stage.network.resetsOnClose(descriptor))
        }
    }

    @Test("a source whose reset comes while its target is full is read to its end")
    func cutWhileFull() throws {
        try withPipe { stage, source, target in
            fill(stage, source, target)
            #expect(stage.turn((source, .stopped(.receive))) == [.watch(source)])
            #expect(stage.turn((source, .hungUp(ECONNRESET))) == [.receive(source)])
            #expect(stage.turn((source, .received(long))) == [])
            #expect(stage.turn((source, .endOfStream)) == [.close(source)])
            #expect(stage.turn((target, .sent(20))) == [.send(long, target)])
            #expect(stage.turn((target, .stopped(.receive))) == [.receive(target)])
            #expect(stage.turn((target, .sent(20))) == [.close(target)])
            #expect(stage.delegate.take(source) == [.closed("reset ECONNRESET")])
        }
    }

    @Test("a source is read although its own output waits: another connection causes that")
    func sourceWithUnsentOutput() throws {
        try withPipe(inBothDirections: true) { stage, source, target in
            let requests = stage.turn((source, .received(long)))
            #expect(requests == [.send(long, target), .stop(.receive, source)])
            #expect(stage.turn((target, .received([1]))) == [.send([1], source)])
        }
    }

    @Test("of two sources the last one's end is the target's")
    func twoSources() throws {
        try withPipe { stage, source, target in
            let second = try stage.open()
            stage.turn(second) { loop, second in
                if let target = loop.find(target) { loop.pipe(second, to: target) }
            }
            #expect(stage.turn((source, .endOfStream)) == [.watch(source)])
            #expect(stage.turn((second, .received([1]))) == [.send([1], target)])
            #expect(stage.turn((second, .endOfStream)) == [.watch(second)])
            #expect(stage.turn((target, .sent(1))) == [.shutdownWrite(target)])
            let ends = stage.turn((target, .endOfStream))
            #expect(ends.first == .close(target))
            #expect(Set(ends.dropFirst().map { "\($0)" }).count == 2)
            #expect(stage.delegate.take(second) == [.closed("peer")])
            #expect(stage.delegate.take(source) == [.closed("peer")])
        }
    }

    @Test("the end of a target's peer ends the answers, and waits for what the pipe still brings")
    func endOfTheTargetsPeer() throws {
        try withPipe { stage, source, target in
            let end = stage.turn((target, .endOfStream))
            #expect(end == [.watch(target), .shutdownWrite(source)])
            #expect(stage.turn((source, .received([1]))) == [.send([1], target)])
            #expect(stage.turn((source, .endOfStream)) == [.close(source)])
            #expect(stage.turn((target, .sent(1))) == [.close(target)])
            #expect(stage.delegate.take(target) == [.closed("peer")])
            #expect(stage.delegate.take(source) == [.closed("peer")])
        }
    }

    @Test("a source that waits for a slow target is not idle as long as that takes something")
    func slowTarget() throws {
        try withPipe(idle: .milliseconds(400)) { stage, source, target in
            fill(stage, source, target)
            for _ in 0..<12 {
                for _ in 0..<30 { stage.turn(after: .milliseconds(10)) }
                stage.turn((target, .sent(1)))
            }
            #expect(stage.delegate.take(source) == [])
        }
    }

    @Test("two that wait for each other's peers are closed, since neither takes anything")
    func bothFull() throws {
        try withPipe(inBothDirections: true, idle: .milliseconds(400)) { stage, source, target in
            stage.turn((source, .received(long)))
            stage.turn((target, .received(long)))
            for _ in 0..<80 { stage.turn(after: .milliseconds(10)) }
            #expect(stage.remote.counters.timeouts.current == 0)
            for _ in 0..<5 { stage.turn(after: .milliseconds(10)) }
            #expect(stage.remote.counters.timeouts.current == 2)
        }
    }

    /// The loop has nothing left to send, and the target's kernel has: its peer reads.
    @Test("a pipe is idle only as a whole, and not while the target's peer reads")
    func idleAsAWhole() throws {
        try withPipe(idle: .milliseconds(400)) { stage, source, target in
            try stage.leaveInSendQueue([UInt8](repeating: 1, count: 100))
            for _ in 0..<20 {
                for _ in 0..<30 { stage.turn(after: .milliseconds(10)) }
                #expect(stage.peers[1].read(atMost: 1).count == 1)
            }
            #expect(stage.remote.counters.timeouts.current == 0)
            for _ in 0..<90 { stage.turn(after: .milliseconds(10)) }
            #expect(stage.delegate.take(source) == [.closed("timeout")])
        }
    }
}
