/// Tests of the choice among loops when some of them open connections too slowly.
import Testing

@testable import MillraceEventLoop

@Suite struct TargetsTests {
    // MARK: The choice

    @Test("the balancer picks the loop, and the accepting loop is no target")
    func theBalancerPicks() {
        let remotes = [LoopRemote](waiting: [0, 63, 0])
        var targets = Targets(remotes, own: remotes[2], .roundRobin)
        let choices = (0..<4).map { _ in targets.choose { nil } }
        #expect(choices == [0, 1, nil, 0].map { Targets.Choice(target: $0) })
    }

    @Test("the balancer sees the loads, unopened connections among them")
    func loadsAreSeen() {
        let remotes: [LoopRemote] = [
            .with(index: 0, waiting: 3), .with(index: 1, open: 3),
            .with(index: 2, waiting: 1, open: 1),
        ]
        var targets = Targets(acceptorOf: remotes, .leastConnections)
        #expect(targets.choose { nil } == Targets.Choice(target: 2))
    }

    @Test("the balancer sees the source if the policy needs it")
    func sourcesAreSeen() {
        let source = SocketAddress(host: "192.0.2.7", port: 1)
        var targets = Targets(acceptorOf: [LoopRemote](waiting: [0, 0, 0]), .sourceHash)
        var balancer = Balancer(.sourceHash)
        let pick = balancer.pick(among: 3, load: { _ in 0 }, source: { source })
        #expect(targets.choose { source } == Targets.Choice(target: pick))
    }

    @Test("the connections of a loop that is behind go to the least loaded of the others")
    func fallBack() {
        var targets = Targets(acceptorOf: [LoopRemote](waiting: [64, 3, 2, 64]))
        #expect(targets.choose { nil } == Targets.Choice(target: 2, isFallBack: true))
        #expect(targets.choose { nil } == Targets.Choice(target: 1))
    }

    @Test("the accepting loop itself may be the fall-back")
    func fallBackToTheAcceptor() {
        let remotes = [LoopRemote](waiting: [64, 0])
        var targets = Targets(remotes, own: remotes[1], .roundRobin)
        #expect(targets.choose { nil } == Targets.Choice(target: nil, isFallBack: true))
    }

    @Test("without a fall-back the balancer's choice stands")
    func allAreBehind() {
        var targets = Targets(acceptorOf: [LoopRemote](waiting: [64, 65]))
        #expect(targets.choose { nil } == Targets.Choice(target: 0))
        #expect(targets.choose { nil } == Targets.Choice(target: 1))
    }

    // MARK: Loops that are behind

    @Test("the acceptor waits only if all loops are behind")
    func behind() {
        func behind(_ waiting: [Int]) -> Int? {
            Targets(acceptorOf: [LoopRemote](waiting: waiting)).behind()
        }
        #expect(behind([0, 0]) == nil)
        #expect(behind([64, 63]) == nil)
        #expect(behind([63, 64]) == nil)
        #expect(behind([64, 64]) == 0)
        #expect(behind([]) == nil)
    }

    @Test("an acceptor that serves connections itself never waits")
    func theAcceptorIsNeverBehind() {
        let remotes = [LoopRemote](waiting: [64, 64])
        #expect(Targets(remotes, own: remotes[1], .roundRobin).behind() == nil)
    }

    @Test("each loop that is behind notifies when it has caught up", arguments: [64, 0])
    func eachNotifies(waiting: Int) {
        let remotes = [LoopRemote](waiting: [64, waiting, 64])
        _ = Targets(acceptorOf: remotes).behind()
        for remote in [remotes[0], remotes[2]] {
            let notified = (0..<64).filter { _ in remote.adoptions.remove() }
            #expect(notified == [47], "once, when 16 are left")
        }
    }
}
