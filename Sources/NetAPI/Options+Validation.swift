internal import CMillraceLinux
internal import MillraceEventLoop

/// The checks of every value before anything is bound. An error names the wrong value and the valid
/// ones.
extension Options {
    /// Returns the options in the form for the loops. Throws `.invalidOption`.
    func configuration() throws(NetError) -> LoopGroup.Configuration {
        var group = LoopGroup.Configuration()
        group.loops = try loops.resolved()
        group.reusePort = reusePort
        group.balancer = balancer.policy
        group.connectionLimit = try atLeast(1, limits.connections, "limits.connections")
        let perHost = try atLeast(1, limits.connectionsPerHost, "limits.connectionsPerHost")
        if perHost < .max { group.hostLimit = perHost }
        _ = try within(1...1024, workers.threads, "workers.threads")
        _ = try atLeast(0, workers.queued, "workers.queued")
        _ = try atLeast(1, workers.perConnection, "workers.perConnection")
        _ = try within(1...1024, names.threads, "names.threads")
        _ = try atLeast(0, names.queued, "names.queued")
        _ = try positive(names.startTimeout, "names.startTimeout")
        group.pinLoops = pinLoops
        group.listen.backlog = CInt(
            try within(1...Int(Int32.max), tcp.backlog, "tcp.backlog"))
        if let time = tcp.deferAccept {
            group.listen.deferAccept = try seconds(1...3600, time, "tcp.deferAccept")
        }
        _ = try minimumWaitTime()
        group.listen.receiveOffload = udp.receiveOffload
        group.listen.segmentationOffload = udp.segmentationOffload
        group.listen.reuseAddress = udp.reuseAddress
        if let mode = unix.mode {
            group.listen.mode = UInt16(try within(0...0o777, Int(mode), "unix.mode"))
            guard mode & 0o200 != 0 else {
                throw .invalidOption(
                    "unix.mode", "0o" + String(mode, radix: 8),
                    "leave its owner the right to write: without, nobody can replace a dead socket")
            }
        }
        group.loop = try loopConfiguration()
        group.loop.countsHosts = group.hostLimit != nil
        return group
    }

    private func loopConfiguration() throws(NetError) -> LoopConfiguration {
        var loop = LoopConfiguration()
        loop.stream.noDelay = tcp.noDelay
        if let idle = tcp.keepAlive {
            loop.stream.keepAlive = try seconds(1...32767, idle, "tcp.keepAlive")
        }
        loop.receiveOffload = udp.receiveOffload
        loop.segmentationOffload = udp.segmentationOffload
        loop.allowHalfClosure = allowHalfClosure
        loop.inboundLimit = try atLeast(1, limits.inboundBytes, "limits.inboundBytes")
        loop.outboundLimit = try atLeast(1, limits.outboundBytes, "limits.outboundBytes")
        loop.outboundHighMark = try within(
            1...limits.outboundBytes, limits.outboundHighMark, "limits.outboundHighMark")
        loop.outboundLowMark = try within(
            0...limits.outboundHighMark, limits.outboundLowMark, "limits.outboundLowMark")
        if let idle = timeouts.idle { loop.idleTimeout = try positive(idle, "timeouts.idle") }
        if let read = timeouts.read { loop.readTimeout = try positive(read, "timeouts.read") }
        if let write = timeouts.write { loop.writeTimeout = try positive(write, "timeouts.write") }
        loop.workLimit = min(workers.perConnection, Int(Int32.max))
        loop.slowTurn = try positive(slowTurn, "slowTurn")
        loop.busyPoll = try atMost(.seconds(1), busyPoll, "busyPoll")
        loop.closeTimeout = try positive(timeouts.close, "timeouts.close")
        loop.acceptingFilters = acceptingFilters
        loop.connectingFilters = connectingFilters
        loop.lingerTimeout = try positive(timeouts.linger, "timeouts.linger")
        loop.proxyHeaderTimeout = try positive(timeouts.proxyHeader, "timeouts.proxyHeader")
        loop.attemptDelay = try attemptDelay()
        return loop
    }

    func minimumWaitTime() throws(NetError) -> Nanoseconds {
        try atMost(.milliseconds(10), minimumWait, "minimumWait")
    }

    private func attemptDelay() throws(NetError) -> Nanoseconds {
        let time = names.attemptDelay
        guard time >= .milliseconds(10), time <= .seconds(10) else {
            throw .invalidOption("names.attemptDelay", time, "give 10 ms to 10 s")
        }
        return Nanoseconds(time)
    }

    private func atMost(
        _ most: Duration, _ time: Duration, _ name: String
    ) throws(NetError) -> Nanoseconds {
        guard time >= .zero, time <= most else {
            throw .invalidOption(name, time, "give a time from zero to \(most)")
        }
        return Nanoseconds(time)
    }

    private func atLeast(_ least: Int, _ value: Int, _ name: String) throws(NetError) -> Int {
        guard value >= least else {
            throw .invalidOption(name, value, "give at least \(least)")
        }
        return value
    }

    private func within(
        _ range: ClosedRange<Int>, _ value: Int, _ name: String
    ) throws(NetError) -> Int {
        guard range.contains(value) else {
            throw .invalidOption(
                name, value, "give \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    /// Returns whole seconds, which are the kernel's unit. A fraction would be lost without notice.
    private func seconds(
        _ range: ClosedRange<Int64>, _ time: Duration, _ name: String
    ) throws(NetError) -> CInt {
        let isInRange = time >= .seconds(range.lowerBound) && time <= .seconds(range.upperBound)
        // In this order: above Int64.max seconds, `components` traps.
        guard isInRange, time.components.attoseconds == 0 else {
            throw .invalidOption(
                name, time, "give \(range.lowerBound) to \(range.upperBound) whole seconds")
        }
        return CInt(time.components.seconds)
    }

    private func positive(_ time: Duration, _ name: String) throws(NetError) -> Nanoseconds {
        guard time > .zero else { throw .invalidOption(name, time, "give a time above zero") }
        return Nanoseconds(time)
    }
}

extension Loops {
    fileprivate func resolved() throws(NetError) -> Int {
        if self == .perCore { return Int(mr_cpu_count()) }
        guard (1...1024).contains(number) else {
            throw .invalidOption("loops", number, "give 1 to 1024, or .perCore")
        }
        return number
    }
}

extension Options.Balancer {
    fileprivate var policy: MillraceEventLoop.Balancer.Policy {
        switch self {
        case .roundRobin: .roundRobin
        case .leastConnections: .leastConnections
        case .sourceHash: .sourceHash
        }
    }
}
