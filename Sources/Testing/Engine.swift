internal import MillraceEventLoop
internal import MillraceSimulation
internal import NetAPI

/// The part of a network that runs: turns the loops, moves the clock, and runs jobs and scripts.
/// The order of all of it depends on the seed alone.
final class Engine {
    let simulated: SimulatedNetwork
    let mixture: FaultMixture
    let start: Nanoseconds
    var offloads = TestNetwork.Offloads.atOnce
    var keepsLog = true
    private(set) var problems: [String] = []
    private(set) var log: [String] = []
    private(set) var hosts: [Host] = []
    private var records: [HandlerRecord] = []
    /// The draws of the test, of peers, and of the order of loops. Each has its own source, so that
    /// the draws of one do not shift those of another.
    var random: SeededRandom
    var peerRandom: SeededRandom
    private var orderRandom: SeededRandom
    private let shuffles: Bool
    /// The test's own actions at later times.
    private var script = Timetable()
    private var isRunning = false
    private var holds = 0

    /// The most rounds at one moment of the clock, and the most moments until nothing moves.
    private static let mostRounds = 20_000
    private static let mostSteps = 300_000
    private static let mostLines = 20_000

    init(seed: UInt64, _ faults: Faults) {
        var random = SeededRandom(seed: seed)
        mixture = FaultMixture(faults, &random)
        simulated = SimulatedNetwork(seed: random.next(), plan: mixture.network)
        orderRandom = random.fork()
        peerRandom = random.fork()
        shuffles = faults.contains(.order)
        self.random = random
        start = simulated.now
    }

    /// Ends every host: a loop that never ends would keep its memory.
    deinit {
        holds = 0
        for host in hosts { host.server.requestStop(within: .zero) }
        let last = simulated.now + 3_600_000_000_000
        _ = run(until: last) { self.hosts.allSatisfy(\.hasEnded) }
    }

    func add(
        _ make: (SimulatedBackend) throws(NetError) -> Server
    ) throws(NetError) -> Host {
        let host = try Host(
            on: simulated, mixture.driver, seed: orderRandom.next(), make)
        hosts.append(host)
        settle()
        return host
    }

    func makeRecord(_ kind: String) -> HandlerRecord {
        let record = HandlerRecord("\(kind) \(records.count + 1)", self)
        records.append(record)
        return record
    }

    /// Returns a connection of any host, by the port of the side that connected.
    func entry(_ port: UInt16?) -> HandlerRecord.Entry? {
        guard let port else { return nil }
        return records.lazy.compactMap { $0.connections[port] }.first
    }

    // MARK: Log

    var now: Nanoseconds { simulated.now - start }

    func note(_ line: @autoclosure () -> String) {
        guard keepsLog, log.count < Self.mostLines else { return }
        let micros = now / 1000
        let fraction = String(micros % 1000)
        let zeros = String(repeating: "0", count: 3 - fraction.count)
        log.append("\(micros / 1000).\(zeros)\(fraction) ms: \(line())")
    }

    func noteProblem(_ problem: String) {
        note("problem: \(problem)")
        problems.append(problem)
    }

    /// Draws the size of a peer's next piece and the pause after it. Mixed sizes cut short messages
    /// too, and move long ones in few steps.
    func drawPace(of waiting: Int) -> Peer.Pace {
        let count = max(1, waiting)
        let bytes =
            switch peerRandom.below(3) {
            case 0: peerRandom.within(1...min(count, 8))
            case 1: peerRandom.within(1...count)
            default: count
            }
        return .init(bytes: bytes, every: peerRandom.pick([1, 20_000, 200_000]))
    }

    // MARK: Running

    func schedule(after delay: Nanoseconds, _ action: @escaping () -> Void) {
        script.add(at: simulated.now + max(0, delay), action)
    }

    func dropScript() { script = Timetable() }

    /// Runs `body` without a turn of any loop, then everything that it caused.
    func together<Value>(_ body: () throws -> Value) rethrows -> Value {
        holds += 1
        defer {
            holds -= 1
            settle()
        }
        return try body()
    }

    /// Runs until nothing moves any more. Timers and scripts wait for their own time, but time
    /// passes while bytes are on their way.
    func settle() { _ = run(until: nil) { false } }

    /// Moves the clock to `time`, and runs everything that is due by then.
    func advance(to time: Nanoseconds) { _ = run(until: time) { false } }

    /// Runs until `isDone`, at most to the time `end`. Returns whether it is done.
    func run(until end: Nanoseconds?, _ isDone: () -> Bool) -> Bool {
        // Actions of a script or a callback only begin: the outer run does the rest.
        guard !isRunning, holds == 0 else {
            if end != nil { noteProblem("time cannot be advanced inside a step of the network") }
            return isDone()
        }
        isRunning = true
        defer { isRunning = false }
        var rounds = 0
        var steps = 0
        while !isDone() {
            simulated.runDue()
            if let due = script.takeFirst(by: simulated.now) {
                due.action()
                continue
            }
            if runLoops() || runJobs() {
                rounds += 1
                if rounds < Self.mostRounds { continue }
                noteProblem("a loop has work at one moment without an end")
                break
            }
            guard let next = nextTime(by: end) else {
                if let end { simulated.advance(to: end) }
                return isDone()
            }
            steps += 1
            if end == nil && steps == Self.mostSteps {
                noteProblem("bytes move without an end")
                break
            }
            rounds = 0
            simulated.advance(to: max(next, simulated.now + 1))
        }
        return isDone()
    }

    private func runLoops() -> Bool {
        var due = hosts.flatMap { $0.takeDueLoops(at: simulated.now) }
        if shuffles { orderRandom.shuffle(&due) }
        for loop in due { loop.turn() }
        return !due.isEmpty
    }

    /// The next time at which something is due; nil if there is none up to `end`. Without `end`,
    /// nil if nothing moves.
    private func nextTime(by end: Nanoseconds?) -> Nanoseconds? {
        let jobs = hosts.compactMap(\.jobTimes.first)
        var moving = hosts.compactMap(\.nextMotion)
        if let time = simulated.nextActionTime { moving.append(time) }
        if case .atOnce = offloads { moving += jobs }
        if end == nil && moving.isEmpty { return nil }
        let scheduled = hosts.compactMap(\.nextDeadline) + jobs
        let next = (moving + scheduled + [script.nextTime].compactMap { $0 }).min()
        return next.flatMap { $0 <= end ?? .max ? $0 : nil }
    }

    // MARK: Jobs

    private func runJobs() -> Bool {
        var hasRun = false
        for host in hosts {
            let pool = host.server.workers
            // A stopped pool drops its queue.
            while host.jobTimes.count > pool.waiting { host.jobTimes.removeLast() }
            if let delay = offloadDelay {
                while host.jobTimes.count < pool.waiting {
                    host.jobTimes.append(simulated.now + orderRandom.within(delay))
                }
            }
            while let time = host.jobTimes.first, time <= simulated.now {
                host.jobTimes.removeFirst()
                hasRun = pool.runNext() || hasRun
            }
        }
        return hasRun
    }

    /// The time that a job takes; nil if jobs are held.
    private var offloadDelay: ClosedRange<Nanoseconds>? {
        switch offloads {
        case .held: nil
        case .atOnce: mixture.offloadDelay
        case .taking(let time): Nanoseconds(time)...Nanoseconds(time)
        }
    }

    /// Runs the next job of any host that is held.
    func runHeldJob() -> Bool {
        for host in hosts where host.server.workers.runNext() {
            if !host.jobTimes.isEmpty { host.jobTimes.removeFirst() }
            settle()
            return true
        }
        return false
    }
}
