/// The decisions about accepting, in each state of a listener. `AcceptorStopTests` has those about
/// its end.
import MillraceTestSupport
import Testing

@testable import MillraceEventLoop

@Suite struct AcceptorTests {
    private let token = Situation.token

    /// Records an issue: the acceptor must not ask for room here.
    private func unasked() -> Bool {
        Issue.record("asked for room")
        return false
    }

    // MARK: Starting

    @Test("a listener needs a slot once, before it first starts", arguments: Situation.allCases)
    func needsSlot(_ situation: Situation) {
        #expect(situation.acceptor().needsSlot(0) == (situation == .idle))
    }

    @Test("a listener starts if it has a slot and no operation runs", arguments: Situation.allCases)
    func starts(_ situation: Situation) {
        var acceptor = situation.acceptor()
        let starts = [.attached, .backingOff, .full].contains(situation)
        #expect(acceptor.start(0) == (starts ? token : nil))
        #expect(acceptor.state == (starts ? .accepting : situation.state))
    }

    @Test("a stopping listener neither starts nor needs a slot", arguments: Situation.allCases)
    func doesNotStartAgain(_ situation: Situation) {
        var acceptor = situation.acceptor()
        _ = acceptor.stop(0)
        let state = acceptor.state
        #expect(acceptor.start(0) == nil)
        #expect(!acceptor.needsSlot(0))
        #expect(acceptor.state == state)
    }

    // MARK: Accepted connections

    /// A driver may be ahead of the loop, so connections come while the stream is being stopped.
    @Test(
        "an accepted connection is placed if it has room, and parked otherwise",
        arguments: [.accepting, .stopping] as [Situation], [true, false])
    func admits(_ situation: Situation, hasRoom: Bool) {
        var acceptor = situation.acceptor()
        #expect(acceptor.admit(on: 0, takesRoom: hasRoom) == (hasRoom ? .place : .park))
        #expect(acceptor.state == situation.state)
    }

    @Test(
        "a connection that was in the backlog when the stop began is served in any case",
        arguments: [.leaving, .emptying] as [Situation])
    func admitsBeyondTheLimit(_ situation: Situation) {
        var acceptor = situation.acceptor()
        #expect(acceptor.admit(on: 0, takesRoom: unasked()) == .placeBeyondLimit)
    }

    @Test("a connection that comes while the listener closes is refused")
    func refuses() {
        var acceptor = Situation.closing.acceptor()
        #expect(acceptor.admit(on: 0, takesRoom: unasked()) == .refuse)
    }

    @Test("without room a running stream is stopped, once", arguments: Situation.allCases)
    func pausesWhenFull(_ situation: Situation) {
        var acceptor = situation.acceptor()
        let pauses = situation == .accepting
        #expect(acceptor.pause(0, hasRoom: false) == (pauses ? .full(token) : nil))
        #expect(acceptor.state == (pauses ? .stopping : situation.state))
        #expect(acceptor.pause(0, hasRoom: false) == nil)
    }

    @Test("with room no stream is stopped", arguments: Situation.allCases)
    func doesNotPause(_ situation: Situation) {
        var acceptor = situation.acceptor(targets: [LoopRemote](waiting: [64, 63]))
        #expect(acceptor.pause(0, hasRoom: true) == nil)
        #expect(acceptor.state == situation.state)
    }

    // MARK: Loops that are behind

    @Test("a stream is stopped if all loops are behind, and each of them notifies")
    func pausesForLoops() {
        let remotes = [LoopRemote](waiting: [64, 64])
        var acceptor = Situation.accepting.acceptor(targets: remotes)
        #expect(acceptor.pause(0, hasRoom: true) == .behind(loop: 0, token))
        #expect(acceptor.state == .stopping)
        for remote in remotes { #expect(notifies(remote)) }
    }

    @Test("a lack of room is the reason, if there are two, and the loops notify all the same")
    func pausesForRoomFirst() {
        let remotes = [LoopRemote](waiting: [64, 64])
        var acceptor = Situation.accepting.acceptor(targets: remotes)
        #expect(acceptor.pause(0, hasRoom: false) == .full(token))
        for remote in remotes { #expect(notifies(remote)) }
    }

    @Test("a listener that accepts for one loop asks no other")
    func asksNoOther() {
        let remotes = [LoopRemote](waiting: [64, 64])
        let bound = BoundListener(descriptor: Descriptor(1), address: .v4(IPv4Bytes(1), port: 1))
        var acceptor = Acceptor([(bound, spreads: false)], Targets(acceptorOf: remotes))
        acceptor.attached(0, as: token)
        _ = acceptor.start(0)
        #expect(acceptor.pause(0, hasRoom: true) == nil)
        for remote in remotes { #expect(!notifies(remote)) }
    }

    /// Whether a loop that opens 48 of 64 connections notifies an acceptor.
    private func notifies(_ remote: LoopRemote) -> Bool {
        (0..<48).contains { _ in remote.adoptions.remove() }
    }

    @Test("only a listener that spreads connections advances the balancer")
    func chooses() {
        let listeners = [false, true].map {
            (
                bound: BoundListener(
                    descriptor: Descriptor(1), address: .v4(IPv4Bytes(1), port: 1)), spreads: $0
            )
        }
        let remotes = [LoopRemote](waiting: [0, 0])
        var acceptor = Acceptor(listeners, Targets(acceptorOf: remotes))
        #expect(acceptor.choose(for: 0, source: nil) == Targets.Choice())
        #expect(acceptor.choose(for: 1, source: nil) == Targets.Choice(target: 0))
        #expect(acceptor.choose(for: 0, source: nil) == Targets.Choice())
        #expect(acceptor.choose(for: 1, source: nil) == Targets.Choice(target: 1))
    }

    // MARK: The end of a stream

    @Test("each failure in a row doubles the back-off, and a success resets it")
    func backsOff() {
        var acceptor = Situation.accepting.acceptor()
        for delay in [20, 40, 80, 160, 320, 500, 500] as [Nanoseconds] {
            #expect(acceptor.failed(0) == .retry(after: .milliseconds(delay)))
            #expect(acceptor.isBackingOff(0))
            #expect(acceptor.start(0) == token)
            #expect(!acceptor.isBackingOff(0))
        }
        _ = acceptor.admit(on: 0, takesRoom: true)
        #expect(acceptor.failed(0) == .retry(after: .milliseconds(20)))
        #expect(acceptor.failed(0) == .retry(after: .milliseconds(40)))
        acceptor.received(on: 0)
        #expect(acceptor.failed(0) == .retry(after: .milliseconds(20)))
    }

    @Test("a stream that was stopped for lack of room leaves the listener full")
    func becomesFull() {
        var acceptor = Situation.stopping.acceptor()
        #expect(acceptor.stopped(0) == .resume)
        #expect(acceptor.state == .full)
    }

    @Test("the end of a stopping listener's stream, by an error too, is the stop's answer")
    func finishes() {
        var acceptor = Situation.leaving.acceptor()
        #expect(acceptor.stopped(0) == .finish)
        #expect(acceptor.failed(0) == .finish)
        #expect(acceptor.state == .stopping)
    }

    // MARK: Resuming

    @Test("only a full listener resumes, and only with room", arguments: Situation.allCases)
    func resumes(_ situation: Situation) {
        let acceptor = situation.acceptor()
        guard situation == .full else {
            let resumes = acceptor.mayResume(0, hasRoom: unasked())
            #expect(!resumes)
            return
        }
        #expect(acceptor.mayResume(0, hasRoom: true))
        #expect(!acceptor.mayResume(0, hasRoom: false))
    }

    @Test("a full listener does not resume while all loops are behind", arguments: [63, 64])
    func resumesForLoops(waiting: Int) {
        let remotes = [LoopRemote](waiting: [64, waiting])
        let acceptor = Situation.full.acceptor(targets: remotes)
        #expect(acceptor.mayResume(0, hasRoom: true) == (waiting == 63))
    }

    @Test("a close elsewhere ends a back-off, and no other state", arguments: Situation.allCases)
    func retries(_ situation: Situation) {
        var acceptor = situation.acceptor()
        let retries = acceptor.retriesAfterClose(0)
        #expect(retries == (situation == .backingOff))
        #expect(acceptor.state == situation.state)
    }

    @Test("a close elsewhere does not help a listener that waits for a slot of its loop")
    func waitsForASlot() {
        var acceptor = Situation.idle.acceptor()
        _ = acceptor.failed(0)
        let retries = acceptor.retriesAfterClose(0)
        #expect(!retries)
    }

    @Test("a close during another try is worth one more, unless that try succeeds")
    func triesOnceMore() {
        for succeeds in [false, true] {
            var acceptor = Situation.backingOff.acceptor()
            _ = acceptor.start(0)
            let retries = acceptor.retriesAfterClose(0)
            #expect(!retries)
            if succeeds {
                _ = acceptor.admit(on: 0, takesRoom: true)
                #expect(acceptor.failed(0) == .retry(after: .milliseconds(20)))
            } else {
                #expect(acceptor.failed(0) == .retry(after: 0))
                _ = acceptor.start(0)
                #expect(acceptor.failed(0) == .retry(after: .milliseconds(80)))
            }
        }
    }

    @Test("parked connections come out in order, each when there is room for it")
    func parked() {
        var acceptor = Situation.stopping.acceptor()
        #expect(acceptor.nextParked(on: 0, takesRoom: unasked()) == nil)
        for number in 1...3 as ClosedRange<CInt> { acceptor.park(.numbered(number), on: 0) }
        #expect(acceptor.nextParked(on: 0, takesRoom: true)?.descriptor == Descriptor(1))
        #expect(acceptor.nextParked(on: 0, takesRoom: false) == nil)
        #expect(acceptor.nextParked(on: 0, takesRoom: true)?.descriptor == Descriptor(2))
        #expect(acceptor.nextParked(on: 0, takesRoom: true)?.descriptor == Descriptor(3))
        #expect(acceptor.nextParked(on: 0, takesRoom: unasked()) == nil)
    }
}
