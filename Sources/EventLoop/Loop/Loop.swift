import CLinux

/// One event loop: the driver, the connections that live on it, and the turn that moves them.
///
/// Confined to one thread. Its methods are spread over this folder and `Connections/` by what they
/// are about. Hot stored properties carry `@exclusivity(unchecked)`: the dynamic check costs more
/// than the work, and nothing re-enters them.
@usableFromInline
package final class Loop {
    package let index: Int
    package let port: LoopPort
    // The port's own, which keeps them alive: at hand for what is counted with every request.
    @usableFromInline
    @exclusivity(unchecked) unowned(unsafe) let counters: LoopCounters
    @usableFromInline package let configuration: LoopConfiguration
    /// Replies of at most so many bytes are copied without further ado: no piece that is worth
    /// sending ahead, and no reason to look at the marks.
    let shortReply: UInt
    package let sockets: any Sockets
    /// The loops that connections accepted here may go to, this one among them.
    let targets: [LoopPort]
    // The owner outlives its loops: it joins their threads.
    unowned(unsafe) let owner: any LoopOwner

    @exclusivity(unchecked) let driver: any Driver
    /// Owned, but not counted for each event, which a variable of the delegate's type would be.
    /// Replaced when the loop ends: who keeps it then keeps nothing of the program's with it.
    @usableFromInline
    @exclusivity(unchecked) package internal(set) var delegates: Unmanaged<Delegates>
    // `package` for its setter's sake: one that can be inlined ends the compiler (Swift 6.3.1).
    @usableFromInline
    @exclusivity(unchecked) package internal(set) var table = ConnectionTable()
    @usableFromInline
    @exclusivity(unchecked) package let chunks = ChunkPool()
    @exclusivity(unchecked) var timers = TimerQueue<TimerAction>()
    /// Connections that something is due for, after the callback or message that said so.
    @exclusivity(unchecked) var attention = Fifo<Token>(capacity: 64)
    @usableFromInline
    @exclusivity(unchecked) package var retired = RetiredBlocks()
    /// How many callbacks are running: more than one only when a handler flushes and has a
    /// `preWrite`.
    @usableFromInline
    @exclusivity(unchecked) var depth = 0
    /// Callbacks and closures that are not counted as input.
    @exclusivity(unchecked) var closureCount = 0
    /// Whose callback is running.
    @usableFromInline
    @exclusivity(unchecked) var current: ConnectionReference?
    /// The driver's clock as of this turn.
    @usableFromInline
    @exclusivity(unchecked) package var now: Nanoseconds
    /// Cleared by a handler that does not care.
    @usableFromInline
    @exclusivity(unchecked) package var handlerWantsWillWrite = true
    @exclusivity(unchecked) var listeners: [Listener] = []
    @exclusivity(unchecked) var hasDatagramsToSend = false
    /// Of sockets that have not closed, by their place among the listeners, each made with the
    /// first datagram that is to be sent. Owned, but not counted for each datagram.
    @exclusivity(unchecked) var outboxes: [Unmanaged<DatagramOutbox>?] = []
    /// Of connections that are over for their handlers, if hosts are counted.
    @exclusivity(unchecked) var closingHosts: [Token: SocketAddress] = [:]
    /// Connects that failed before they began: told from the loop, not inside the call.
    @exclusivity(unchecked) var refusals: [() -> Void] = []
    @exclusivity(unchecked) var isTellingLast = false
    @exclusivity(unchecked) var balancer: Balancer
    @exclusivity(unchecked) var phase = LoopPhase.running {
        didSet { if phase == .ended { hasEnded = true } }
    }
    /// At hand for each turn: to compare phases costs more.
    @exclusivity(unchecked) private(set) var hasEnded = false
    /// It has ended by a failure of its driver; the other loops may still serve.
    @exclusivity(unchecked) package internal(set) var owesGoodbye = false
    /// When this loop was first asked to stop accepting.
    @exclusivity(unchecked) var stopHeard: Nanoseconds?
    /// While draining: when it should be looked at again.
    @exclusivity(unchecked) var drainDeadline: Nanoseconds?
    /// The clock when a turn's callbacks had returned; nil before the first turn.
    @exclusivity(unchecked) private var lastLook: Nanoseconds?
    /// The last long turn. What happened in it was noted with the time of its beginning, and counts
    /// as of its end where a time-out is judged.
    @exclusivity(unchecked) private(set) var heldUp: (from: Nanoseconds, to: Nanoseconds) = (0, 0)
    private static var longTurn: Nanoseconds { 20_000_000 }
    /// The last turn left completions in the driver.
    @usableFromInline
    @exclusivity(unchecked) var isBehind = false
    /// Until then the loop looks for events without sleeping.
    @exclusivity(unchecked) private var busyUntil: Nanoseconds = 0
    /// Taken from the mailbox, and how many of them have been handled.
    @exclusivity(unchecked) var messages: [LoopMessage] = []
    @exclusivity(unchecked) var messagesTaken = 0
    @exclusivity(unchecked) var hasMessagesLeft = false
    /// Listeners whose backlogs are being taken in before they close.
    @exclusivity(unchecked) var emptyingCount = 0
    @exclusivity(unchecked) var emptyingLimit = Loop.longestEmptying

    /// On the loop's thread. `listeners` are this loop's to accept on and to close.
    package init(
        index: Int, port: LoopPort, driver: any Driver, sockets: any Sockets,
        delegate: any LoopDelegate, configuration: LoopConfiguration,
        listeners: [(bound: BoundListener, spreads: Bool)], targets: [LoopPort],
        balancer: Balancer.Policy, owner: any LoopOwner
    ) {
        self.index = index
        self.port = port
        counters = port.counters
        self.driver = driver
        self.sockets = sockets
        delegates = .passRetained(Delegates(delegate))
        self.configuration = configuration
        shortReply = UInt(max(0, min(OutboundQueue.largePiece, configuration.outboundHighMark)))
        self.targets = targets
        self.owner = owner
        self.balancer = Balancer(balancer)
        now = driver.now
        self.listeners = listeners.map { Listener(bound: $0.bound, spreads: $0.spreads) }
        table.loop = Unmanaged.passUnretained(self)
        table.limit = configuration.slotLimit
    }

    deinit {
        for outbox in outboxes { outbox?.release() }
        delegates.release()
    }

    /// Who is called by this loop.
    package var delegate: any LoopDelegate { delegates.takeUnretainedValue().delegate }

    func replaceDelegate(by delegate: any LoopDelegate) {
        let old = delegates
        delegates = .passRetained(Delegates(delegate))
        // Last: what goes with it may ask this loop.
        old.release()
    }

    /// A port for a loop with this driver: made first, since other loops must know it.
    package static func port(
        index: Int, capacity: Int, driver: any Driver
    ) -> LoopPort {
        LoopPort(index: index, capacity: capacity, driver: driver)
    }

    /// Connections in any state but free. Listeners count too.
    package var slotsInUse: Int { table.count }

    /// Its callback is running.
    @inlinable
    @inline(__always)
    func isCurrent(_ connection: ConnectionReference) -> Bool {
        UInt(bitPattern: current) == UInt(bitPattern: connection)
    }

    package func find(_ token: Token) -> ConnectionReference? { table.find(token) }

    /// Every connection that is open.
    package func forEachOpen(_ body: (ConnectionReference) -> Void) {
        guard table.count > 0 else { return }
        for token in table.tokens(where: { $0.state == .open }) {
            if let connection = table.find(token), connection.pointee.state == .open {
                body(connection)
            }
        }
    }

    /// The loop whose thread this is; nil elsewhere.
    package static var current: Loop? {
        mr_thread_get().map { Unmanaged<Loop>.fromOpaque($0).takeUnretainedValue() }
    }

    /// Whether this thread is a loop's, where waiting for loops may never end.
    package static var isOnLoopThread: Bool { mr_thread_is_loop() || mr_thread_get() != nil }

    /// Runs `body` as this loop's thread.
    func asCurrent<R>(_ body: () throws -> R) rethrows -> R {
        let outer = mr_thread_get()
        mr_thread_set(Unmanaged.passUnretained(self).toOpaque())
        defer { mr_thread_set(outer) }
        return try body()
    }

    // MARK: The turn

    /// One turn, in the steps that `DESIGN.md` numbers. False once the loop has ended.
    package func turn() -> Bool {
        guard !hasEnded else { return false }
        port.counters.turns.add()
        let start = lastLook ?? driver.clock
        var isBusy = runDueTimers()
        isBusy = isBusy || !refusals.isEmpty || !attention.isEmpty
        if !refusals.isEmpty { tellRefusals() }
        attend()
        flushDatagrams()
        if isBusy { noteLag(since: start) }
        do throws(SystemError) {
            try driver.wait(until: isBusyPolling ? now : waitDeadline())
        } catch {
            driverFailed(error)
            return false
        }
        now = driver.now
        // Before the completions: what another thread has posted may be for a connection that ends
        // in this turn.
        takeMessages()
        guard !hasEnded else { return false }
        let hadEvents = driver.feed(self)
        attend()
        if emptyingCount > 0 { emptyBacklogs() }
        let end = noteLag(since: now)
        if hadEvents && configuration.busyPoll > 0 { busyUntil = end + configuration.busyPoll }
        advanceDrain()
        return !hasEnded
    }

    private var isBusyPolling: Bool { configuration.busyPoll > 0 && driver.clock < busyUntil }

    /// In the past if something is due already, nil if nothing is ever due.
    package func waitDeadline() -> Nanoseconds? {
        if !attention.isEmpty || !refusals.isEmpty || port.mailbox.mayHoldMessages
            || hasMessagesLeft
        {
            return now
        }
        guard let next = timers.nextDeadline else { return stopDeadline }
        guard let stop = stopDeadline else { return next }
        return min(next, stop)
    }

    /// Of what only a stopping loop does.
    private var stopDeadline: Nanoseconds? {
        emptyingCount > 0 ? emptyingDeadline : drainDeadline
    }

    /// How long callbacks took: every connection of the loop has waited for them.
    @discardableResult
    private func noteLag(since start: Nanoseconds) -> Nanoseconds {
        let end = driver.clock
        lastLook = end
        let lag = end - start
        guard lag > Self.longTurn else { return end }
        heldUp = (now, end)
        guard lag > configuration.slowTurn else { return end }
        port.counters.slowTurns.add()
        port.counters.longestTurn.raise(to: Int(lag))
        owner.report(.slowTurn(loop: index, lag))
        return end
    }

    /// Whatever is not the daily bread.
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

    /// A completion of a life that is over. A descriptor in it would leak.
    @usableFromInline
    @inline(never)
    func stale(_ completion: Completion) {
        port.counters.staleCompletions.add()
        if case .accepted(let descriptor) = completion.event { sockets.discard(descriptor) }
    }

    private func attend() {
        // What is queued meanwhile waits for the next round: a handler that wakes itself cannot
        // hold the loop.
        var left = attention.count
        while left > 0, let token = attention.popFirst() {
            left -= 1
            if let connection = table.find(token) {
                connection.pointee.flags.remove(.queued)
                attend(connection)
            }
        }
    }
}
