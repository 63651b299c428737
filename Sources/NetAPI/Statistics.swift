internal import EventLoop

/// A server's counters since its start, summed over its loops when read. Each is exact for its
/// loop; read while the server works, they are of slightly different moments.
public struct Statistics: Sendable {
    /// Connections taken from the backlogs.
    public var accepted = 0
    /// Connections alive now, each until its `onClose`.
    public var open = 0
    /// Connections after their `onClose` whose sockets are kept so that nothing of what was written
    /// is lost: until the peer has everything and is quiet, or has ended its side, and for at most
    /// twice `Options.Timeouts.linger`. They count for `Options.Limits.connections`.
    public var lingering = 0
    /// Bytes received.
    public var bytesIn = 0
    /// Bytes that the kernel took.
    public var bytesOut = 0
    /// Turns of the loops.
    public var turns = 0
    /// Accepting failed for lack of descriptors or memory, and waited.
    public var acceptBackOffs = 0
    /// Accepting paused at `Options.Limits.connections`.
    public var acceptPauses = 0
    /// Accepting waited for a loop that had not taken what it was handed; clients waited in the
    /// backlog.
    public var acceptorWaits = 0
    /// Connections that went to another loop than the one that `Options.balancer` picked, since 64
    /// that had been handed to that one still waited to be taken.
    public var balancerFallBacks = 0
    /// Reading paused because a peer did not take its output.
    public var readPauses = 0
    /// Connections closed with `.inboundOverflow` or `.outboundOverflow`.
    public var overflowCloses = 0
    /// Connections closed with `.timeout`.
    public var timeouts = 0
    /// Completions that came for a connection already gone, and were dropped.
    public var staleCompletions = 0
    /// Messages refused because a loop's mailbox was full; not datagrams, which are drops.
    public var refusedPosts = 0
    /// Connections refused at `Options.Limits.connectionsPerHost`.
    public var hostRefusals = 0
    /// Turns whose callbacks took longer than `Options.slowTurn`.
    public var slowTurns = 0
    /// The longest of those, on any loop.
    public var longestTurn = Duration.zero
    /// Work for `offload` that waits for a thread.
    public var offloadsWaiting = 0
    /// Work that `offload` refused, since too much waited.
    public var offloadRefusals = 0
    /// Work that was not begun, since its connection had closed.
    public var offloadsSkipped = 0
    /// Reading paused since a connection had `Options.Workers.perConnection` jobs unfinished.
    public var offloadPauses = 0
    /// Datagrams received.
    public var datagramsIn = 0
    /// Datagrams that the kernel took, of bound sockets.
    public var datagramsOut = 0
    /// Messages to the kernel that held several of them, with `Options.udp.segmentationOffload`.
    public var segmentedSends = 0
    /// Such messages that the kernel refused, so that their datagrams went one by one.
    public var segmentationFallBacks = 0
    /// Pieces that held several received datagrams, with `Options.udp.receiveOffload`.
    public var coalescedReceives = 0
    /// Datagrams that a socket did not take or lost by an error, that were too long, or that
    /// `DatagramSocket.send` refused.
    public var datagramDrops = 0
    /// `onDatagram` threw.
    public var datagramErrors = 0
    /// Kernel entries of the backends: waits, and submissions without one.
    public var kernelEntries = 0
    /// Receives that found no free buffer and waited for one (io_uring).
    public var bufferStarvations = 0
    /// More completions than their queue had room for (io_uring); none is lost.
    public var completionOverflows = 0
    /// Loops that ended because the kernel refused to serve them.
    public var failedLoops = 0

    mutating func add(_ port: LoopPort) {
        let counters = port.counters
        accepted += counters.accepted.current
        open += counters.open
        lingering += counters.lingering.current
        bytesIn += counters.bytesIn.current
        bytesOut += counters.bytesOut.current
        turns += counters.turns.current
        acceptBackOffs += counters.acceptBackOffs.current
        acceptPauses += counters.acceptPauses.current
        acceptorWaits += counters.acceptorWaits.current
        balancerFallBacks += counters.balancerFallBacks.current
        readPauses += counters.readPauses.current
        offloadPauses += counters.workPauses.current
        offloadRefusals += counters.workRefusals.current
        overflowCloses += counters.inboundOverflows.current + counters.outboundOverflows.current
        timeouts += counters.timeouts.current
        staleCompletions += counters.staleCompletions.current
        staleCompletions += port.driverCounters.staleCompletions.current
        hostRefusals += counters.hostRefusals.current
        slowTurns += counters.slowTurns.current
        longestTurn = max(longestTurn, .nanoseconds(counters.longestTurn.current))
        datagramsIn += counters.datagramsIn.current
        datagramsOut += counters.datagramsOut.current
        segmentedSends += counters.segmentedSends.current
        segmentationFallBacks += counters.segmentationFallBacks.current
        coalescedReceives += counters.coalescedReceives.current
        datagramDrops += counters.datagramDrops.current + counters.datagramRefusals.current
        datagramErrors += counters.datagramErrors.current
        kernelEntries += port.driverCounters.kernelEntries.current
        bufferStarvations += port.driverCounters.bufferStarvations.current
        completionOverflows += port.driverCounters.completionOverflows.current
        refusedPosts += port.mailbox.refusals
        failedLoops += counters.driverErrors.current
    }
}
