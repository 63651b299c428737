import Synchronization

/// A count that one thread adds to and any thread reads: a plain load, add and store, no locked
/// instruction.
@usableFromInline
package struct Counter: ~Copyable, Sendable {
    @usableFromInline let value = Atomic(0)

    package init() {}

    package var current: Int { value.load(ordering: .relaxed) }

    @inlinable
    package func add(_ amount: Int = 1) {
        value.store(value.load(ordering: .relaxed) &+ amount, ordering: .relaxed)
    }

    /// For a maximum.
    package func raise(to amount: Int) {
        if amount > current { value.store(amount, ordering: .relaxed) }
    }
}

/// A count that any thread adds to.
package struct SharedCounter: ~Copyable, Sendable {
    private let value = Atomic(0)

    package init() {}

    package var current: Int { value.load(ordering: .relaxed) }

    package func add(_ amount: Int = 1) { value.add(amount, ordering: .relaxed) }
}

/// What a loop counts; but for what is shared, only on its own thread. Each degraded mode has a
/// counter here.
@usableFromInline
package final class LoopCounters: Sendable {
    package let accepted = Counter()
    package let opened = Counter()
    package let closed = Counter()
    /// Of those, how many still have a descriptor now.
    package let lingering = Counter()
    @usableFromInline package let bytesIn = Counter()
    @usableFromInline package let bytesOut = Counter()
    package let turns = Counter()
    package let acceptBackOffs = Counter()
    package let acceptPauses = Counter()
    /// Accepting waited for a loop that had not taken what it was handed.
    package let acceptorWaits = Counter()
    /// Connections for a loop that had not taken enough of what it was handed, and that went to
    /// another.
    package let balancerFallBacks = Counter()
    package let inboundOverflows = Counter()
    package let outboundOverflows = Counter()
    package let readPauses = Counter()
    /// Reading paused since as much blocking work waited as may.
    package let workPauses = Counter()
    /// Connections closed since one callback asked for far more work than that.
    package let workRefusals = Counter()
    package let timeouts = Counter()
    package let staleCompletions = Counter()
    package let driverErrors = Counter()
    /// Turns whose callbacks took longer than they should.
    package let slowTurns = Counter()
    /// The longest of them, in nanoseconds.
    package let longestTurn = Counter()
    package let hostRefusals = Counter()
    package let datagramsIn = Counter()
    /// Not sent, since the socket or the network was full, or the datagram too long.
    package let datagramDrops = Counter()
    /// Refused where they were given, by any thread: to no address, or too much waits for the loop.
    package let datagramRefusals = SharedCounter()
    package let datagramErrors = Counter()
    package let datagramsOut = Counter()
    /// Messages that held several datagrams.
    package let segmentedSends = Counter()
    /// Such messages that the kernel refused; their datagrams went one by one.
    package let segmentationFallBacks = Counter()
    package let coalescedReceives = Counter()

    package init() {}

    /// Connections alive: from the accept to the end of the handler's part.
    package var open: Int { opened.current - closed.current }
}

/// What a driver counts. Those that its kernel interface cannot have stay 0.
@usableFromInline
package final class DriverCounters: Sendable {
    /// Waits, and submissions without one.
    package let kernelEntries = Counter()
    /// A receive found no free buffer and waited for one.
    package let bufferStarvations = Counter()
    /// The kernel had more completions than their queue had room for.
    package let completionOverflows = Counter()
    /// Completions of a life that was over, dropped by the driver itself.
    package let staleCompletions = Counter()

    package init() {}
}
