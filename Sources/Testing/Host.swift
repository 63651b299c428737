internal import MillraceEventLoop
internal import MillraceSimulation
internal import NetAPI

/// A server or a client whose loops an engine turns.
final class Host {
    let server: Server
    let loops: [SteppedLoop]
    let drivers: [SimulatedDriver]
    /// Whether a loop's last turn had work. A thread would begin another turn at once, and send
    /// what is gathered for it, before it waits.
    private var wasDue: [Bool]
    /// The times at which the jobs in the pool's queue run, in its order.
    var jobTimes: [Nanoseconds] = []

    /// Makes the server with a backend of its own on this network, and starts it.
    init(
        on network: SimulatedNetwork, _ plan: FaultPlan, seed: UInt64,
        _ make: (SimulatedBackend) throws(NetError) -> Server
    ) throws(NetError) {
        let list = DriverList()
        let backend = SimulatedBackend(
            sockets: SimulatedSockets(network: network), workers: .whenAsked
        ) { () throws(SystemError) in
            list.add { SimulatedDriver(network: network, seed: seed &+ $0, plan: plan) }
        }
        server = try make(backend)
        loops = try server.startStepped()
        drivers = list.drivers
        wasDue = drivers.map { _ in false }
    }

    var liveLoops: [Int] { loops.indices.filter { !loops[$0].hasEnded } }
    var hasEnded: Bool { loops.allSatisfy(\.hasEnded) }

    /// Returns the loops that have a turn to run now.
    func takeDueLoops(at now: Nanoseconds) -> [SteppedLoop] {
        liveLoops.filter { index in
            let isDue = isDue(index, at: now)
            defer { wasDue[index] = isDue }
            return isDue || wasDue[index]
        }.map { loops[$0] }
    }

    private func isDue(_ index: Int, at now: Nanoseconds) -> Bool {
        if drivers[index].hasReady { return true }
        return loops[index].loop.waitDeadline().map { $0 <= now } ?? false
    }

    /// The next time at which something moves in this host's part of the network.
    var nextMotion: Nanoseconds? {
        var next: Nanoseconds?
        for index in liveLoops {
            if let time = drivers[index].nextReadyTime { next = min(next ?? time, time) }
        }
        return next
    }

    /// The next time for which a loop has scheduled something itself.
    var nextDeadline: Nanoseconds? {
        liveLoops.compactMap { loops[$0].loop.waitDeadline() }.min()
    }

    /// Mistakes of the library that this host's end shows, such as memory that is not freed.
    var mistakes: [String] {
        var mistakes = drivers.flatMap(\.violations)
        for loop in loops.map(\.loop) {
            if loop.slotsInUse != 0 { mistakes.append("\(loop.slotsInUse) connections are left") }
            if loop.chunks.inUse != 0 { mistakes.append("\(loop.chunks.inUse) buffers are left") }
        }
        return mistakes
    }
}

/// The drivers of a host, in the order of its loops.
// Unchecked: the loops are made on one thread.
private final class DriverList: @unchecked Sendable {
    private(set) var drivers: [SimulatedDriver] = []

    func add(_ make: (_ number: UInt64) -> SimulatedDriver) -> SimulatedDriver {
        let driver = make(UInt64(drivers.count))
        drivers.append(driver)
        return driver
    }
}
