internal import MillraceEventLoop

/// The counters of a server since its start, summed over its loops when read. Each is exact for its
/// loop. Values read while the server works are of slightly different moments.
public struct Statistics: Sendable {
    /// Connections accepted from the backlogs.
    public var accepted = 0
    /// Connections alive now, each until its `onClose`.
    public var open = 0
    /// Connections after their `onClose` whose sockets are kept so that no written byte is lost.
    /// They stay until the peer has everything and is quiet, or has ended its side, at most twice
    /// `Options.Timeouts.linger`. They count for `Options.Limits.connections`.
    public var lingering = 0
    /// Bytes received.
    public var bytesIn = 0
    /// Bytes that the kernel accepted.
    public var bytesOut = 0
    /// Turns of the loops.
    public var turns = 0
    /// Times that accepting failed for lack of descriptors or memory, and waited.
    public var acceptBackOffs = 0
    /// Times that accepting paused at `Options.Limits.connections`.
    public var acceptPauses = 0
    /// Times that accepting waited for a loop behind with its new connections; clients waited in
    /// the backlog.
    public var acceptorWaits = 0
    /// Connections that went to another loop than the one that `Options.balancer` picked, since 64
    /// connections already waited for that one.
    public var balancerFallBacks = 0
    /// Times that reading paused because a peer did not accept its output.
    public var readPauses = 0
    /// Connections closed with `.inboundOverflow` or `.outboundOverflow`.
    public var overflowCloses = 0
    /// Connections closed with `.timeout`.
    public var timeouts = 0
    /// Handshakes of TLS that succeeded, of accepted connections and of our own.
    public var handshakes = 0
    /// Handshakes that failed or took too long.
    public var handshakeFailures = 0
    /// Connections that TLS ended after their handshake, because of a wrong record or an alert.
    public var insecureCloses = 0
    /// Lookups of names that connects have begun.
    public var lookups = 0
    /// Lookups that the resolver answered with an error, such as a full queue. A lookup without an
    /// answer in time is not counted.
    public var lookupFailures = 0
    /// Completions for connections that were already closed, and that were dropped.
    public var staleCompletions = 0
    /// Messages refused because a loop's mailbox was full. Refused datagrams count in
    /// `datagramDrops`.
    public var refusedPosts = 0
    /// Connections refused at `Options.Limits.connectionsPerHost`.
    public var hostRefusals = 0
    /// Turns whose callbacks ran longer than `Options.slowTurn`.
    public var slowTurns = 0
    /// The longest of those turns, on any loop.
    public var longestTurn = Duration.zero
    /// Jobs of `offload` that wait for a thread now.
    public var offloadsWaiting = 0
    /// Jobs that `offload` refused because too many waited.
    public var offloadRefusals = 0
    /// Jobs that were not begun because their connection had closed.
    public var offloadsSkipped = 0
    /// Times that reading paused because a connection had `Options.Workers.perConnection`
    /// unfinished jobs.
    public var offloadPauses = 0
    /// Datagrams received.
    public var datagramsIn = 0
    /// Datagrams that the kernel accepted from bound sockets.
    public var datagramsOut = 0
    /// Messages to the kernel that held several datagrams, with `Options.udp.segmentationOffload`.
    public var segmentedSends = 0
    /// Such messages that the kernel refused, so that their datagrams were sent one by one.
    public var segmentationFallBacks = 0
    /// Pieces that held several received datagrams, with `Options.udp.receiveOffload`.
    public var coalescedReceives = 0
    /// Datagrams that a socket did not accept or lost by an error, that were too long, that came in
    /// a pause beyond its bound, or that `DatagramSocket.send` refused.
    public var datagramDrops = 0
    /// Datagrams dropped because `onDatagram` threw.
    public var datagramErrors = 0
    /// Kernel entries of the backends: waits, and submissions without a wait.
    public var kernelEntries = 0
    /// Receives that found no free buffer and waited for one (io_uring).
    public var bufferStarvations = 0
    /// Times that there were more completions than their queue had room for (io_uring); none is
    /// lost.
    public var completionOverflows = 0
    /// Loops that ended because the kernel refused to serve them.
    public var failedLoops = 0

    mutating func add(_ remote: LoopRemote) {
        let counters = remote.counters
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
        offloadRefusals += counters.offloadRefusals.current
        overflowCloses += counters.inboundOverflows.current + counters.outboundOverflows.current
        timeouts += counters.timeouts.current
        handshakes += counters.handshakes.current
        handshakeFailures += counters.handshakeFailures.current
        insecureCloses += counters.filterFailures.current
        lookups += counters.lookups.current
        lookupFailures += counters.lookupFailures.current
        staleCompletions += counters.staleCompletions.current
        staleCompletions += remote.driverCounters.staleCompletions.current
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
        kernelEntries += remote.driverCounters.kernelEntries.current
        bufferStarvations += remote.driverCounters.bufferStarvations.current
        completionOverflows += remote.driverCounters.completionOverflows.current
        refusedPosts += remote.mailbox.refusals
        failedLoops += counters.driverErrors.current
    }
}
