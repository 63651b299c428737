/// The decisions about a listener's end: stopping, serving the backlog, closing.
import Testing

@testable import MillraceEventLoop

@Suite struct AcceptorStopTests {
    private let token = Situation.token

    private func ms(_ time: Nanoseconds) -> Nanoseconds { .milliseconds(time) }

    // MARK: Requests to stop

    @Test("a stop ends a running stream, or waits for its end", arguments: Situation.allCases)
    func stops(_ situation: Situation) {
        var acceptor = situation.acceptor()
        let expected: Acceptor.Stop =
            switch situation {
            case .accepting: .stopStream(.accept, token)
            case .idle, .attached, .backingOff, .full: .finish
            case .stopping, .leaving, .emptying, .closing, .closed: .nothing
            }
        #expect(acceptor.stop(0) == expected)
        #expect(acceptor.state == (situation == .accepting ? .stopping : situation.state))
        #expect(acceptor.listeners[0].isStopping)
        #expect(acceptor.stop(0) == .nothing)
    }

    @Test("the stream of a datagram socket stops likewise")
    func stopsDatagrams() {
        var acceptor = Situation.accepting.acceptor(isDatagram: true)
        #expect(acceptor.stop(0) == .stopStream(.datagrams, token))
    }

    @Test("the first request's time counts, and the shortest limit")
    func shortestLimit() {
        var acceptor = Situation.accepting.acceptor()
        acceptor.stopRequested(within: ms(200), now: ms(1_000))
        acceptor.stopRequested(within: ms(10_000), now: ms(1_050))
        #expect(acceptor.stopHeard == ms(1_000))
        let empties = acceptor.beginEmptying(0, isHandedOut: false, now: ms(1_050))
        #expect(empties)
        #expect(acceptor.state == .emptying(until: ms(1_150)))
    }

    // MARK: Finishing

    @Test("a listener finishes once", arguments: Situation.allCases)
    func finishes(_ situation: Situation) {
        let isOver = [.emptying, .closing, .closed].contains(situation)
        #expect(situation.acceptor().mayFinish(0) == !isOver)
    }

    @Test("the backlog is emptied for half of the stop's limit, at most a second")
    func emptyingTime() {
        for (limit, end) in [(10_000, 2_000), (2_000, 2_000), (800, 1_400)] as [(Int64, Int64)] {
            var acceptor = Situation.leaving.acceptor()
            acceptor.stopRequested(within: ms(limit), now: ms(1_000))
            let empties = acceptor.beginEmptying(0, isHandedOut: false, now: ms(1_000))
            #expect(empties)
            #expect(acceptor.state == .emptying(until: ms(end)))
            #expect(acceptor.emptyingCount == 1)
        }
    }

    @Test("a backlog of two servers is left to the other one for a while")
    func leftBacklog() {
        var acceptor = Situation.leaving.acceptor()
        acceptor.stopRequested(within: ms(1_000), now: ms(1_000))
        let empties = acceptor.beginEmptying(0, isHandedOut: true, now: ms(1_000))
        #expect(empties && acceptor.emptyingDeadline(now: ms(1_000)) == ms(1_100))
        #expect(acceptor.emptying(0, clock: ms(1_099), now: ms(1_099)) == .wait)
        guard
            case .accept(1..., isLast: false) = acceptor.emptying(
                0, clock: ms(1_100), now: ms(1_100))
        else { return #expect(Bool(false), "it is not emptied") }
    }

    @Test("a short stop leaves such a backlog, and its clients, to the other server")
    func leftForGood() {
        for isShortened in [false, true] {
            var acceptor = Situation.leaving.acceptor()
            acceptor.stopRequested(within: ms(isShortened ? 1_000 : 100), now: ms(1_000))
            let empties = acceptor.beginEmptying(0, isHandedOut: true, now: ms(1_000))
            #expect(empties == isShortened)
            guard isShortened else { continue }
            acceptor.stopRequested(within: 0, now: ms(1_050))
            let decision = acceptor.emptying(0, clock: ms(1_050), now: ms(1_050))
            #expect(decision == .accept(most: 0, isLast: true))
        }
    }

    @Test("a datagram socket has no backlog")
    func noBacklog() {
        var acceptor = Situation.leaving.acceptor(isDatagram: true)
        let empties = acceptor.beginEmptying(0, isHandedOut: false, now: ms(1_000))
        #expect(!empties)
        #expect(acceptor.state == .stopping)
        #expect(acceptor.emptyingCount == 0)
    }

    @Test("a later request shortens the time of a backlog, and does not lengthen it")
    func shortensEmptying() {
        var acceptor = Situation.emptying.acceptor()
        acceptor.stopRequested(within: ms(200), now: ms(1_000))
        #expect(acceptor.state == .emptying(until: ms(1_100)))
        acceptor.stopRequested(within: ms(10_000), now: ms(1_000))
        #expect(acceptor.state == .emptying(until: ms(1_100)))
    }

    // MARK: Emptying

    private func decision(
        _ acceptor: Acceptor, clock: Nanoseconds, now: Nanoseconds? = nil
    ) -> Acceptor.Emptying {
        acceptor.emptying(0, clock: ms(clock), now: ms(now ?? clock))
    }

    @Test("sixteen are accepted in a turn, and all that have waited when the time is up")
    func emptiesInTurns() {
        let acceptor = Situation.emptying.acceptor()
        #expect(decision(acceptor, clock: 1_999) == .accept(most: 16, isLast: false))
        // The turn began before the end; its callbacks were slow.
        let last = decision(acceptor, clock: 2_000, now: 1_500)
        #expect(last == .accept(most: 4_096, isLast: true))
        #expect(acceptor.emptyingDeadline(now: ms(1_500)) == ms(1_500))
    }

    @Test("while all loops are behind, clients wait, until the time is up")
    func waitsForLoops() {
        let acceptor = Situation.emptying.acceptor(targets: [LoopRemote](waiting: [64, 64]))
        #expect(decision(acceptor, clock: 1_500) == .wait)
        #expect(acceptor.emptyingDeadline(now: ms(1_500)) == ms(2_000))
        #expect(decision(acceptor, clock: 2_000) == .accept(most: 4_096, isLast: true))
    }

    @Test("after an error the next look is 20 ms later")
    func waitsAfterAnError() {
        var acceptor = Situation.emptying.acceptor()
        acceptor.emptyingFailed(0, now: ms(1_000))
        #expect(acceptor.emptyingDeadline(now: ms(1_000)) == ms(1_020))
        #expect(decision(acceptor, clock: 1_030, now: 1_019) == .wait)
        #expect(decision(acceptor, clock: 1_020) == .accept(most: 16, isLast: false))
        acceptor.emptyingFailed(0, now: ms(1_990))
        #expect(acceptor.emptyingDeadline(now: ms(1_990)) == ms(2_000))
    }

    @Test("the next deadline is the earliest of all backlogs")
    func earliestDeadline() {
        var acceptor = self.acceptor(listeners: 2)
        acceptor.stopRequested(within: ms(10_000), now: ms(1_000))
        #expect(acceptor.emptyingDeadline(now: ms(1_000)) == nil)
        for (listener, begin) in [(0, 1_000), (1, 1_200)] as [(Int, Int64)] {
            let empties = acceptor.beginEmptying(listener, isHandedOut: false, now: ms(begin))
            #expect(empties)
            acceptor.emptyingFailed(listener, now: ms(1_970 + begin / 10))
        }
        #expect(acceptor.emptyingCount == 2)
        #expect(acceptor.emptyingDeadline(now: ms(1_970)) == ms(2_000))
        #expect(acceptor.close(0) == .byLoop(Descriptor(0)))
        #expect(acceptor.emptyingCount == 1)
        #expect(acceptor.emptyingDeadline(now: ms(1_970)) == ms(2_110))
        #expect(acceptor.close(1) == .byLoop(Descriptor(1)))
        #expect(acceptor.emptyingCount == 0)
        #expect(acceptor.emptyingDeadline(now: ms(1_970)) == nil)
    }

    // MARK: Closing

    @Test("the driver closes what it has, and the loop the rest")
    func closes() {
        var acceptor = Situation.emptying.acceptor()
        #expect(acceptor.close(0) == .byDriver(token))
        #expect(acceptor.state == .closing)
        #expect(!acceptor.hasStopped)
        acceptor.closed(0)
        #expect(acceptor.hasStopped)
        acceptor = Situation.idle.acceptor()
        #expect(acceptor.close(0) == .byLoop(Situation.descriptor))
        #expect(acceptor.hasStopped)
    }

    @Test("a listener is cut once, in any state", arguments: Situation.allCases)
    func cuts(_ situation: Situation) {
        var acceptor = situation.acceptor()
        let expected: Acceptor.Closing? =
            switch situation {
            case .idle: .byLoop(Situation.descriptor)
            case .closed: nil
            default: .byDriver(token)
            }
        #expect(acceptor.cut(0) == expected)
        #expect(acceptor.hasStopped)
        #expect(acceptor.emptyingCount == 0)
        #expect(acceptor.cut(0) == nil)
    }

    @Test("a loop without listeners has stopped accepting, although no stop was requested")
    func withoutListeners() {
        let acceptor = acceptor(listeners: 0)
        #expect(acceptor.hasStopped)
        #expect(!acceptor.isStopping)
        #expect(acceptor.emptyingDeadline(now: 0) == nil)
    }

    @Test("parked connections leave a stopping listener in order, or all listeners at once")
    func takesParked() {
        var acceptor = acceptor(listeners: 2)
        for number in 1...4 as ClosedRange<CInt> {
            acceptor.park(.numbered(number), on: Int(number) % 2)
        }
        _ = acceptor.stop(1)
        #expect(acceptor.takeParked(on: 1)?.descriptor == Descriptor(1))
        #expect(acceptor.takeParked().map(\.descriptor) == [2, 4, 3].map { Descriptor($0) })
        #expect(acceptor.takeParked().isEmpty)
        #expect(acceptor.takeParked(on: 0) == nil)
    }

    private func acceptor(listeners count: CInt) -> Acceptor {
        let listeners = (0..<count).map {
            (
                bound: BoundListener(
                    descriptor: Descriptor($0), address: .v4(IPv4Bytes(1), port: 1)),
                spreads: false
            )
        }
        return Acceptor(listeners, Targets(acceptorOf: []))
    }

    // MARK: At random

    @Test("no order of events breaks the rules of the seam", arguments: Trial.seeds)
    func anyOrder(seed: UInt64) throws {
        var trial = Trial(seed)
        var model = AcceptorModel(&trial)
        for _ in 0..<500 { try model.step(&trial) }
        try model.finish(&trial)
    }
}
