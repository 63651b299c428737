/// Remote ends of loops that do not run, for tests of the parts that pass connections to loops.
@testable import MillraceEventLoop

extension Targets {
    /// The targets of an acceptor that serves no connections itself.
    init(acceptorOf remotes: [LoopRemote], _ policy: Balancer.Policy = .roundRobin) {
        self.init(remotes, own: .with(index: remotes.count), policy)
    }
}

extension LoopRemote {
    /// The remote end of a loop that does not run, with unopened and open connections.
    static func with(index: Int, waiting: Int = 0, open: Int = 0) -> LoopRemote {
        let remote = LoopRemote(
            index: index, capacity: 16, waker: ConditionWaker(), driverCounters: DriverCounters())
        for _ in 0..<waiting { remote.adoptions.add() }
        remote.counters.opened.add(open)
        return remote
    }
}

extension [LoopRemote] {
    init(waiting: [Int]) {
        self = waiting.enumerated().map { .with(index: $0, waiting: $1) }
    }
}
