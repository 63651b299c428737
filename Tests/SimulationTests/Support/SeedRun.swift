import MillraceEventLoop
import MillraceSimulation
import NetAPI

/// A whole server on the simulated network, from its start to its end, with everything drawn from
/// one seed.
final class SeedRun {
    let seed: UInt64
    private var random: SeededRandom
    private let network: SimulatedNetwork
    private let ledger = Ledger()
    private let drivers = Drivers()
    private var loops: [SteppedLoop] = []
    private var server: Server?
    private var hasFaultyNetwork = false
    /// A separate generator, so that streams behave the same in runs with and without datagrams.
    private var datagramRandom: SeededRandom
    private let hasDatagrams: Bool
    private let hasFaultyDatagrams: Bool
    /// True if the datagram socket is bound to all addresses.
    private let isBoundToAll: Bool
    /// For the address that comes and goes while the server runs.
    private var listenRandom: SeededRandom
    private var endsRequested = 0
    private var endsTold = 0
    /// Nil in runs without a filter below the streams.
    private let filters: SimulatedFilters?
    private var stopTime: Nanoseconds = 0
    private(set) var mistakes: [String] = []

    private static let mostSteps = 400_000

    // Unchecked: stepped by one thread.
    private final class Drivers: @unchecked Sendable {
        var all: [SimulatedDriver] = []
    }

    init(seed: UInt64) {
        self.seed = seed
        random = SeededRandom(seed: seed)
        datagramRandom = SeededRandom(seed: seed &+ 0xDA7A)
        listenRandom = SeededRandom(seed: seed &+ 0x115735)
        hasDatagrams = datagramRandom.happens(250)
        hasFaultyDatagrams = datagramRandom.happens(500)
        isBoundToAll = datagramRandom.happens(500)
        var filterRandom = SeededRandom(seed: seed &+ 0xF117E4)
        if filterRandom.happens(300) {
            let plan = SimulatedFilters.Plan.drawn(from: &filterRandom)
            filters = SimulatedFilters(
                seed: filterRandom.next(), plan: plan,
                workers: filterRandom.happens(500)
                    ? WorkerPool(threads: 1, queued: 1, running: .atOnce) : nil)
        } else {
            filters = nil
        }
        let networkSeed = random.next()
        var plan = NetworkPlan.drawn(from: &random)
        plan.bundleRefusals = PerMille(datagramRandom.pick([0, 300]))
        if hasFaultyDatagrams { plan.datagramErrors = 100 }
        network = SimulatedNetwork(seed: networkSeed, plan: plan)
    }

    func run() throws {
        let plan = FaultPlan.drawn(from: &random)
        hasFaultyNetwork = plan.resets.count > 0
        try start(plan)
        guard let address = server?.boundAddresses.first,
            let socketAddress = SocketAddress(host: "127.0.0.1", port: address.port ?? 0)
        else { return mistakes.append("no address") }
        let addresses = [socketAddress] + (try listenFurther())
        for index in 0..<(1 + random.below(12)) {
            ledger.peers.append(
                .connect(
                    index, to: addresses[index % addresses.count], on: network,
                    isSecured: filters != nil, &random))
        }
        if hasDatagrams, let port = server?.boundAddresses[1].port,
            case let hosts = isBoundToAll ? ["127.0.0.1", "127.0.0.2"] : ["127.0.0.1"]
        {
            let targets = hosts.compactMap { SocketAddress(host: $0, port: port) }
            ledger.drawDatagramPeers(to: targets, on: network, &datagramRandom)
        }
        if random.happens(150) { network.descriptorLimit = network.openDescriptors.count + 9 }
        stopTime = network.now + random.within(Nanoseconds(0)...3_000_000_000)
        network.schedule(after: stopTime - network.now) { [self] in
            // Longer than the slowest link needs: bytes may be lost at the deadline.
            server?.requestStop(within: .seconds(3_600))
        }
        turnUntilEnded()
        check()
        checkMemory()
    }

    /// In some runs the server listens on a further address for a while.
    private func listenFurther() throws -> [SocketAddress] {
        guard let server, listenRandom.happens(300) else { return [] }
        let place = server.boundAddresses.count
        let address = try server.listen(
            on: filters == nil ? "tcp://127.0.0.1:0" : "tls://127.0.0.1:0")
        network.schedule(after: listenRandom.within(Nanoseconds(0)...3_000_000_000)) { [self] in
            endsRequested += 1
            let told = Told { [self] in endsTold += 1 }
            server.group?.stopListening([place]) { told.body() }
        }
        return [SocketAddress(host: "127.0.0.1", port: address.port ?? 0)].compactMap { $0 }
    }

    // Unchecked: stepped by one thread.
    private final class Told: @unchecked Sendable {
        let body: () -> Void
        init(_ body: @escaping () -> Void) { self.body = body }
    }

    private func start(_ plan: FaultPlan) throws {
        var options = Options(loops: .count(1 + random.below(3)), reusePort: random.happens(300))
        options.allowHalfClosure = random.happens(400)
        options.limits.outboundHighMark = random.pick([1, 1_000, 65_536, 262_144])
        options.limits.outboundLowMark = random.below(options.limits.outboundHighMark)
        options.limits.connections = random.pick([Int.max, Int.max, 3])
        options.timeouts.linger = .milliseconds(500)
        options.workers.perConnection = random.pick([1, 2, 16])
        options.balancer = random.pick([.roundRobin, .leastConnections, .sourceHash])
        let habits = random.happens(300) ? [.echo] : SeedHandler.Habit.allCases
        let (network, drivers, ledger) = (network, drivers, ledger)
        let driverSeed = random.next()
        let backend = SimulatedBackend(sockets: SimulatedSockets(network: network)) {
            () throws(SystemError) in
            let number = UInt64(drivers.all.count)
            let driver = SimulatedDriver(network: network, seed: driverSeed &+ number, plan: plan)
            drivers.all.append(driver)
            return driver
        }
        let handlerSeed = random.next()
        options.acceptingFilters = filters
        options.udp.receiveOffload = datagramRandom.happens(500)
        options.udp.segmentationOffload = datagramRandom.happens(500)
        let addresses: [Address] =
            [filters == nil ? "tcp://127.0.0.1:0" : "tls://127.0.0.1:0"]
            + (hasDatagrams ? [isBoundToAll ? "udp://0.0.0.0:0" : "udp://127.0.0.1:0"] : [])
        let server = try Server(
            addresses, options, handler: SeedHandler.self, backend: backend
        ) { loop in
            let handler = SeedHandler(
                seed: handlerSeed &+ UInt64(loop), ledger: ledger, habits: habits)
            return (handler, true)
        }
        self.server = server
        loops = try server.startStepped()
    }

    // MARK: Turning

    private func turnUntilEnded() {
        for _ in 0..<Self.mostSteps {
            network.runDue()
            var live = loops.indices.filter { !loops[$0].hasEnded }
            if live.isEmpty { return drainPeers() }
            random.shuffle(&live)
            let due = live.filter(isDue)
            for index in due { loops[index].turn() }
            if due.isEmpty && !advance(live) {
                return mistakes.append("nothing will happen any more, and it has not ended")
            }
        }
        mistakes.append("not ended after \(Self.mostSteps) steps")
    }

    private func isDue(_ index: Int) -> Bool {
        if drivers.all[index].hasReady { return true }
        return loops[index].loop.waitDeadline().map { $0 <= network.now } ?? false
    }

    private func advance(_ live: [Int]) -> Bool {
        var next = network.nextActionTime
        for index in live {
            for time in [drivers.all[index].nextReadyTime, loops[index].loop.waitDeadline()] {
                if let time { next = min(next ?? time, time) }
            }
        }
        guard let next else { return false }
        network.advance(to: max(next, network.now + 1))
        return true
    }

    /// Delivers everything still in transit.
    private func drainPeers() {
        for _ in 0..<100_000 {
            guard let time = network.nextActionTime else { return }
            network.advance(to: time)
        }
    }

    // MARK: Checking

    private func check() {
        for (index, peer) in ledger.peers.enumerated() {
            guard let account = ledger.accounts[index] else {
                if !peer.received.isEmpty {
                    mistakes.append("peer \(index): bytes from nowhere")
                }
                continue
            }
            check(peer, account)
        }
        if endsTold != endsRequested {
            mistakes.append("\(endsTold) of \(endsRequested) ends of an address told")
        }
        if ledger.boots != server?.loopCount { mistakes.append("\(ledger.boots) boots") }
        if ledger.shutdowns != ledger.boots { mistakes.append("\(ledger.shutdowns) goodbyes") }
    }

    private func check(_ peer: SeedPeer, _ account: Account) {
        let name = "peer \(account.peer ?? -1) (\(peer.ending), closed by \(account.reason as Any))"
        mistakes += account.mistakes.map { "\(name): \($0)" }
        if account.opens != 1 { mistakes.append("\(name): opened \(account.opens) times") }
        if account.closes != 1 { mistakes.append("\(name): closed \(account.closes) times") }
        let received = peer.received
        if !account.written.beginsExactly(with: received) {
            mistakes.append("\(name): received what was not written")
        }
        if account.promises != account.tellings {
            mistakes.append("\(name): \(account.tellings) of \(account.promises) promises told")
        }
        if peer.hasEndOfCutStream(account) {
            mistakes.append("\(name): an end of its stream, which is not whole")
        }
        if account.hasReadEnd, account.taken != peer.wholeCount {
            mistakes.append("\(name): an end after \(account.taken) of \(peer.wholeCount) bytes")
        }
        guard peer.isPolite, !hasFaultyNetwork else { return }
        if account.isPiped { return checkPiped(peer, account, name) }
        guard account.isGraceful else { return }
        if received.count != account.written.count {
            mistakes.append(
                "\(name): got \(received.count) of \(account.written.count) bytes, sent "
                    + "\(peer.peer.sentCount) of \(peer.total), took \(account.taken), lost "
                    + "\(peer.peer.lostCount), ended \((network.now - stopTime) / 1_000_000) ms "
                    + "after the stop")
        }
        // The peer's end came after its bytes, and must not be delivered before any of them.
        if account.takesEverything, peer.ending == .halfClose, case .peer = account.reason,
            account.taken != peer.total
        {
            mistakes.append("\(name): was shown \(account.taken) of \(peer.total) bytes")
        }
        // A peer that still sends to a closed server may be reset after it has received all bytes.
        let sentAll = account.taken == peer.total
        if peer.peer.sawReset && sentAll { mistakes.append("\(name): reset") }
    }

    /// Checks the output of a pipe: complete if both ends closed normally, and without a clean end
    /// if not.
    private func checkPiped(_ peer: SeedPeer, _ account: Account, _ name: String) {
        guard let source = account.source, let index = source.peer else { return }
        let total = ledger.peers[index].total
        let count = peer.received.count
        guard count < total else { return }
        switch (source.reason, account.reason) {
        case (.reset, _) where peer.sawCleanEnd:
            mistakes.append("\(name): a clean end after \(count) of \(total) bytes of a reset")
        case (.peer, .peer) where ledger.peers[index].ending == .halfClose:
            mistakes.append("\(name): \(count) of \(total) bytes came through the pipe")
        default: break
        }
    }

    private func checkMemory() {
        mistakes += filters?.violations ?? []
        mistakes += network.violations + drivers.all.flatMap(\.violations)
        if !network.openDescriptors.isEmpty {
            mistakes.append("\(network.openDescriptors.count) descriptors left open")
        }
        for loop in loops {
            let slots = loop.loop.slotsInUse
            if slots != 0 { mistakes.append("loop \(loop.loop.index): \(slots) slots in use") }
            let chunks = loop.loop.chunks.inUse
            if chunks != 0 { mistakes.append("loop \(loop.loop.index): \(chunks) chunks in use") }
        }
        guard let statistics = server?.statistics else { return }
        mistakes += ledger.checkDatagrams(statistics, isFaulty: hasFaultyDatagrams)
        if statistics.open != 0 { mistakes.append("\(statistics.open) connections counted open") }
        let injected = drivers.all.map(\.staleCount).reduce(0, +)
        if statistics.staleCompletions != injected {
            mistakes.append(
                "\(statistics.staleCompletions) stale completions, \(injected) injected")
        }
        loops = []
        weak let forgotten = server
        server = nil
        if forgotten != nil { mistakes.append("the server is still held by something") }
    }
}
