import Synchronization

/// A counter that one thread adds to and any thread reads: a plain load, add and store, without a
/// locked instruction.
@usableFromInline
package struct Counter: ~Copyable, Sendable {
    @usableFromInline let value = Atomic(0)

    package init() {}

    package var current: Int { value.load(ordering: .relaxed) }

    @inlinable
    package func add(_ amount: Int = 1) {
        value.store(value.load(ordering: .relaxed) &+ amount, ordering: .relaxed)
    }

    /// Raises a maximum.
    package func raise(to amount: Int) {
        if amount > current { value.store(amount, ordering: .relaxed) }
    }
}

/// A counter that any thread adds to.
package struct SharedCounter: ~Copyable, Sendable {
    private let value = Atomic(0)

    package init() {}

    package var current: Int { value.load(ordering: .relaxed) }

    package func add(_ amount: Int = 1) { value.add(amount, ordering: .relaxed) }
}

/// The counters of a loop. Only the loop's thread writes them, except shared ones. Each degraded
/// mode has a counter here.
@usableFromInline
package final class LoopCounters: Sendable {
    package let accepted = Counter()
    package let opened = Counter()
    package let closed = Counter()
    /// Closed connections that still have a descriptor.
    package let lingering = Counter()
    @usableFromInline package let bytesIn = Counter()
    @usableFromInline package let bytesOut = Counter()
    package let turns = Counter()
    package let acceptBackOffs = Counter()
    package let acceptPauses = Counter()
    /// Pauses of accepting because a loop had not opened the connections passed to it.
    package let acceptorWaits = Counter()
    /// Connections passed to another loop because the chosen one had too many unopened connections.
    package let balancerFallBacks = Counter()
    package let inboundOverflows = Counter()
    package let outboundOverflows = Counter()
    package let readPauses = Counter()
    /// Pauses of reading because a connection's blocking work was at its limit.
    package let workPauses = Counter()
    /// Connections closed because one callback submitted far more blocking work than the limit.
    package let offloadRefusals = Counter()
    package let timeouts = Counter()
    package let handshakes = Counter()
    package let handshakeFailures = Counter()
    /// Established connections that ended because their filter's stream became useless.
    package let filterFailures = Counter()
    /// Lookups of names that connects have begun.
    package let lookups = Counter()
    /// Those that the resolver answered with an error.
    package let lookupFailures = Counter()
    package let staleCompletions = Counter()
    package let driverErrors = Counter()
    /// Turns with callbacks that ran longer than `slowTurn`.
    package let slowTurns = Counter()
    /// The longest such turn, in nanoseconds.
    package let longestTurn = Counter()
    package let hostRefusals = Counter()
    package let datagramsIn = Counter()
    /// Datagrams not sent: the socket or the network was full, or the datagram too long.
    package let datagramDrops = Counter()
    /// Datagrams refused in the call, on any thread: the address is not `udp://`, or too many
    /// datagrams are queued for the loop.
    package let datagramRefusals = SharedCounter()
    package let datagramErrors = Counter()
    package let datagramsOut = Counter()
    /// Messages that held several datagrams.
    package let segmentedSends = Counter()
    /// Messages with several datagrams that the kernel refused; the datagrams were sent one by one.
    package let segmentationFallBacks = Counter()
    package let coalescedReceives = Counter()

    package init() {}

    /// Live connections, from the accept until `onClose`.
    package var open: Int {
        // First those that have closed: otherwise connections that come and go between the two
        // reads would count as closed only.
        let closed = closed.current
        return max(0, opened.current - closed)
    }
}

/// The counters of a driver. A counter that does not apply to its kernel interface stays 0.
@usableFromInline
package final class DriverCounters: Sendable {
    /// Waits, and submissions without a wait.
    package let kernelEntries = Counter()
    /// Receives that found no free buffer and waited for one.
    package let bufferStarvations = Counter()
    /// Overflows of the kernel's completion queue.
    package let completionOverflows = Counter()
    /// Completions of an earlier generation that the driver itself dropped.
    package let staleCompletions = Counter()

    package init() {}
}
