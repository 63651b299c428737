import EventLoop
import Glibc
import Simulation
import Testing

/// Pipes when one side is slow, ends or breaks in the middle.
@Suite struct LoopPipeTests {
    private let long = [UInt8](repeating: 7, count: 20)

    /// Gives `body` a source whose bytes go to a target, above whose high mark `long` is.
    private func withPipe(
        inBothDirections: Bool = false,
        _ body: (Stage, _ source: Token, _ target: Token) throws -> Void
    ) throws {
        var configuration = LoopConfiguration()
        configuration.outboundHighMark = 10
        configuration.outboundLowMark = 4
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

    /// Both rest: the source since its target is full, the target since its peer does not read.
    private func fill(_ stage: Stage, _ source: Token, _ target: Token) {
        let requests = stage.turn((source, .received(long)))
        #expect(
            requests == [.send(long, target), .stop(.receive, target), .stop(.receive, source)])
    }

    @Test("a full target stops its source, whose late bytes go behind, and relief starts it again")
    func full() throws {
        try withPipe { stage, source, target in
            fill(stage, source, target)
            #expect(stage.turn((source, .received([1])), (source, .stopped(.receive))) == [])
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

    @Test("the end of a resting source passes on behind its bytes, and both close")
    func endWhileFull() throws {
        try withPipe { stage, source, target in
            fill(stage, source, target)
            #expect(stage.turn((source, .received([1])), (source, .endOfStream)) == [])
            #expect(stage.turn((target, .sent(20))) == [.send([1], target), .close(source)])
            #expect(stage.delegate.take(source) == [.closed("peer")])
            #expect(stage.turn((target, .stopped(.receive))) == [.receive(target)])
            #expect(stage.turn((target, .sent(1))) == [.shutdownWrite(target)])
            #expect(stage.turn((target, .endOfStream)) == [.close(target)])
            #expect(stage.delegate.take(target) == [.writable, .closed("peer")])
        }
    }

    @Test("in both directions one end leaves the other way open until its own")
    func bothDirections() throws {
        try withPipe(inBothDirections: true) { stage, source, target in
            #expect(stage.turn((source, .endOfStream)) == [.shutdownWrite(target)])
            #expect(stage.turn((target, .received([1]))) == [.send([1], source)])
            #expect(stage.turn((target, .endOfStream)) == [.close(target)])
            #expect(stage.delegate.take(target) == [.closed("peer")])
            // Its last bytes are on their way.
            #expect(stage.delegate.take(source) == [])
            #expect(stage.turn((source, .sent(1))) == [.close(source)])
            #expect(stage.delegate.take(source) == [.closed("peer")])
        }
    }

    @Test("a target that breaks while its source rests: the source closes and is not read for it")
    func brokenTarget() throws {
        try withPipe { stage, source, target in
            fill(stage, source, target)
            let failure = QueuedEvent.failed(.send, SystemError(EPIPE, "send"))
            let requests = stage.turn((target, failure), (source, .received([1])))
            #expect(requests == [.close(target), .shutdownWrite(source)])
            #expect(stage.delegate.take(target) == [.closed("reset EPIPE")])
            #expect(stage.turn((source, .stopped(.receive))) == [.receive(source)])
            #expect(
                stage.turn((source, .received([2])), (source, .endOfStream)) == [.close(source)])
            #expect(stage.delegate.take(source) == [.closed("peer")])
        }
    }
}
