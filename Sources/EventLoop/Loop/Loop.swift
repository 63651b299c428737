import CMillraceLinux

/// One event loop: the driver, its connections, and the turn that serves them.
///
/// Confined to one thread. Extensions hold the methods by topic, in this folder, `Accepting/`,
/// `Connections/`, `Naming/` and `Datagrams/`.
/// Hot stored properties carry `@exclusivity(unchecked)`: the dynamic check costs more than the
/// access, and no access is re-entrant.
@usableFromInline
package final class Loop {
    package let index: Int
    package let remote: LoopRemote
    // The remote's counters, which the remote keeps alive; stored here for the hot path.
    @usableFromInline
    @exclusivity(unchecked) unowned(unsafe) let counters: LoopCounters
    @usableFromInline package let configuration: LoopConfiguration
    /// Replies of at most this many bytes are copied without further checks: too small to send
    /// ahead, and not above the high mark.
    let shortReply: UInt
    package let sockets: any Sockets
    // The owner outlives its loops: it joins their threads.
    unowned(unsafe) let owner: any LoopOwner

    @exclusivity(unchecked) let driver: any Driver
    /// Owned, without the reference counting per event of a strong variable. Replaced when the loop
    /// ends, so that a reference to the loop then keeps no object of the program.
    @usableFromInline
    @exclusivity(unchecked) package internal(set) var delegates: Unmanaged<Delegates>
    // The setter is `package`: an inlinable one crashes the compiler (Swift 6.3.1).
    @usableFromInline
    @exclusivity(unchecked) package internal(set) var table = ConnectionTable()
    @usableFromInline
    @exclusivity(unchecked) package let chunks = ChunkPool()
    @exclusivity(unchecked) var timers = TimerQueue<TimerAction>()
    /// Connections with pending work, handled after the current callback or message.
    @exclusivity(unchecked) var pending = Fifo<Token>(capacity: 64)
    @usableFromInline
    @exclusivity(unchecked) package var retired = RetiredBlocks()
    /// The number of running callbacks: above one only when a handler flushes and has a `preWrite`.
    @usableFromInline
    @exclusivity(unchecked) var depth = 0
    /// The number of callbacks and closures that are not counted as input.
    @exclusivity(unchecked) var closureCount = 0
    /// A pipe's bytes are being written.
    @exclusivity(unchecked) var isPassingOn = false
    /// The connection whose callback is running.
    @usableFromInline
    @exclusivity(unchecked) var current: ConnectionReference?
    /// The driver's clock as of this turn.
    @usableFromInline
    @exclusivity(unchecked) package var now: Nanoseconds
    /// False once a handler turns out to have no `preWrite`.
    @usableFromInline
    @exclusivity(unchecked) package var handlerWantsPreWrite = true
    @exclusivity(unchecked) var acceptor: Acceptor
    @exclusivity(unchecked) var datagramSockets: DatagramSockets
    /// Hosts of connections after `onClose`, if hosts are counted.
    @exclusivity(unchecked) var closingHosts: [Token: SocketAddress] = [:]
    @exclusivity(unchecked) var acceptedHandshakes = Handshakes()
    /// A check of long turns is scheduled.
    @exclusivity(unchecked) var areTurnsLimited = false
    /// Those of connections that the loop has made.
    @exclusivity(unchecked) var ownHandshakes = Handshakes()
    @exclusivity(unchecked) var openedBytes = LazyMemory(byteCount: 160 << 10)
    /// Filters of connections after `onClose`, whose sealed bytes the driver may still use.
    @exclusivity(unchecked) var leavingFilters: [Token: FilterState] = [:]
    /// Results of connects that failed before they began. Reported from the loop, not inside the
    /// call.
    @exclusivity(unchecked) var postponed: [() -> Void] = []
    @exclusivity(unchecked) var isTellingLast = false
    @exclusivity(unchecked) var namedConnects = NamedConnects()
    @exclusivity(unchecked) var phase = LoopPhase.running {
        didSet { if phase == .ended { hasEnded = true } }
    }
    /// Stored for each turn, since comparing phases costs more.
    @exclusivity(unchecked) private(set) var hasEnded = false
    /// The loop has ended by a failure of its driver; the other loops may still serve.
    @exclusivity(unchecked) package internal(set) var owesGoodbye = false
    /// While draining: the time of the next check.
    @exclusivity(unchecked) var drainDeadline: Nanoseconds?
    /// The clock after a turn's callbacks had returned; nil before the first turn.
    @exclusivity(unchecked) private var lastLook: Nanoseconds?
    /// The last long turn. Events in it were recorded with its start time. Time-outs count them
    /// from its end.
    @exclusivity(unchecked) private(set) var heldUp: (from: Nanoseconds, to: Nanoseconds) = (0, 0)
    private static var longTurn: Nanoseconds { 20_000_000 }
    /// The last turn left completions in the driver.
    @usableFromInline
    @exclusivity(unchecked) var isBehind = false
    /// Until this time the loop polls for events without sleeping.
    @exclusivity(unchecked) private var busyUntil: Nanoseconds = 0
    /// Jobs of tasks that are due.
    @exclusivity(unchecked) var jobs = Fifo<UnownedJob>(capacity: 16)
    @exclusivity(unchecked) var isRunningJobs = false
    /// A batch from the mailbox, and the number of its messages that have been handled.
    @exclusivity(unchecked) var messages: [LoopMessage] = []
    @exclusivity(unchecked) var messagesTaken = 0
    @exclusivity(unchecked) var hasMessagesLeft = false

    /// Makes a loop, on its own thread. The loop accepts on `listeners` and closes them.
    package init(
        index: Int, remote: LoopRemote, driver: any Driver, sockets: any Sockets,
        delegate: any LoopDelegate, configuration: LoopConfiguration,
        listeners: [(bound: BoundListener, spreads: Bool)], targets: [LoopRemote],
        balancer: Balancer.Policy, owner: any LoopOwner
    ) {
        self.index = index
        self.remote = remote
        counters = remote.counters
        self.driver = driver
        self.sockets = sockets
        delegates = .passRetained(Delegates(delegate))
        self.configuration = configuration
        shortReply = UInt(max(0, min(OutboundQueue.largePiece, configuration.outboundHighMark)))
        self.owner = owner
        now = driver.now
        acceptor = Acceptor(listeners, Targets(targets, own: remote, balancer))
        datagramSockets = DatagramSockets(
            listeners.map { $0.bound }, bundles: configuration.segmentationOffload)
        table.loop = Unmanaged.passUnretained(self)
        table.limit = configuration.slotLimit
    }

    deinit { delegates.release() }

    /// The delegate that receives this loop's events.
    package var delegate: any LoopDelegate { delegates.takeUnretainedValue().delegate }

    func replaceDelegate(by delegate: any LoopDelegate) {
        let old = delegates
        delegates = .passRetained(Delegates(delegate))
        // Released last: objects freed with it may use this loop.
        old.release()
    }

    /// Makes the remote end of a loop with this driver, before the loop, since other loops need it.
    package static func remote(
        index: Int, capacity: Int, driver: any Driver
    ) -> LoopRemote {
        LoopRemote(
            index: index, capacity: capacity, waker: driver.waker,
            driverCounters: driver.counters)
    }

    /// Connections in any state but free, and listeners.
    package var slotsInUse: Int { table.count }

    /// Whether a callback of this connection is running.
    @inlinable
    @inline(__always)
    func isCurrent(_ connection: ConnectionReference) -> Bool {
        UInt(bitPattern: current) == UInt(bitPattern: connection)
    }

    package func find(_ token: Token) -> ConnectionReference? { table.find(token) }

    /// Calls `body` for every open connection.
    package func forEachOpen(_ body: (ConnectionReference) -> Void) {
        guard table.count > 0 else { return }
        for token in table.tokens(where: { $0.state == .open }) {
            if let connection = table.find(token), connection.state == .open {
                body(connection)
            }
        }
    }

    /// The loop whose thread this is; nil elsewhere.
    package static var current: Loop? {
        mr_thread_get().map { Unmanaged<Loop>.fromOpaque($0).takeUnretainedValue() }
    }

    /// Whether this is a loop's thread, on which a wait for loops may never end.
    package static var isOnLoopThread: Bool { mr_thread_is_loop() || mr_thread_get() != nil }

    /// Runs `body` as this loop's thread.
    func asCurrent<R>(_ body: () throws -> R) rethrows -> R {
        let outer = mr_thread_get()
        mr_thread_set(Unmanaged.passUnretained(self).toOpaque())
        defer { mr_thread_set(outer) }
        return try body()
    }

    // MARK: The turn

    /// Runs one turn, in the steps that `DESIGN.md` numbers. False once the loop has ended.
    package func turn() -> Bool {
        guard !hasEnded else { return false }
        counters.turns.add()
        let start = lastLook ?? driver.clock
        var isBusy = runDueTimers()
        isBusy = isBusy || !postponed.isEmpty || !pending.isEmpty || !jobs.isEmpty
        if !postponed.isEmpty { runPostponed() }
        processPending()
        flushDatagrams()
        if isBusy { noteLag(since: start) }
        do throws(SystemError) {
            try driver.wait(until: isBusyPolling ? now : waitDeadline())
        } catch {
            driverFailed(error)
            return false
        }
        now = driver.now
        // Before the completions: a message may be for a connection that ends in this turn.
        takeMessages()
        guard !hasEnded else { return false }
        let hadEvents = driver.processCompletions(for: self)
        processPending()
        if acceptor.emptyingCount > 0 { emptyBacklogs() }
        let end = noteLag(since: now)
        if hadEvents && configuration.busyPoll > 0 { busyUntil = end + configuration.busyPoll }
        advanceDrain()
        return !hasEnded
    }

    private var isBusyPolling: Bool { configuration.busyPoll > 0 && driver.clock < busyUntil }

    /// The next deadline: in the past if work is due already, nil if none will be due.
    package func waitDeadline() -> Nanoseconds? {
        if !pending.isEmpty || !postponed.isEmpty || remote.mailbox.mayHoldMessages
            || hasMessagesLeft || !jobs.isEmpty
        {
            return now
        }
        guard let next = timers.nextDeadline else { return stopDeadline }
        guard let stop = stopDeadline else { return next }
        return min(next, stop)
    }

    /// The deadline of a stopping loop's own work.
    private var stopDeadline: Nanoseconds? {
        acceptor.emptyingCount > 0 ? acceptor.emptyingDeadline(now: now) : drainDeadline
    }

    /// Records how long callbacks ran, since every connection of the loop waited for them.
    @discardableResult
    private func noteLag(since start: Nanoseconds) -> Nanoseconds {
        let end = driver.clock
        lastLook = end
        let lag = end - start
        guard lag > Self.longTurn else { return end }
        heldUp = (now, end)
        guard lag > configuration.slowTurn else { return end }
        counters.slowTurns.add()
        counters.longestTurn.raise(to: Int(lag))
        owner.report(.slowTurn(loop: index, lag))
        return end
    }

    /// Handles all events off the hot path.
    @usableFromInline
    @inline(never)
    func handle(_ event: Event, of connection: ConnectionReference) {
        switch event {
        case .received, .sent, .datagram: break
        case .accepted(let descriptor): accepted(descriptor, on: connection)
        case .endOfStream: peerEnded(connection)
        case .stopped(.receive): receiveStopped(connection)
        case .hungUp(let number): hungUp(connection, number)
        case .stopped(.accept): acceptStopped(connection)
        case .connected: connected(connection)
        case .stopped(.datagrams): datagramsStopped(connection)
        case .failed(.connect, let error): connectFailed(connection, error)
        case .failed(.datagrams, let error): datagramsFailed(connection, error)
        case .failed(.accept, let error): acceptFailed(error, on: connection)
        case .failed(.receive, let error): receiveFailed(connection, error)
        case .failed(.send, let error): sendFailed(connection, error)
        case .closed: closed(connection)
        }
    }

    /// Counts a completion of an earlier generation. Closes its descriptor, which would leak.
    @usableFromInline
    @inline(never)
    func stale(_ completion: Completion) {
        counters.staleCompletions.add()
        if case .accepted(let descriptor) = completion.event { sockets.discard(descriptor) }
    }

    private func processPending() {
        if !jobs.isEmpty { runJobs() }
        // Connections queued meanwhile wait for the next round, so a handler that wakes itself
        // cannot block the loop.
        var left = pending.count
        while left > 0, let token = pending.popFirst() {
            left -= 1
            if let connection = table.find(token) {
                connection.flags.remove(.queued)
                process(connection)
            }
        }
    }
}
