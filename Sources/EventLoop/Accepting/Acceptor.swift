/// The listeners of a loop and the decisions about them. The loop performs these: it calls the
/// driver, the sockets, the owner and the handler.
///
/// No method calls back into the loop: a handler's callback reads the listeners, and access to the
/// loop's properties is not checked for overlaps. So no argument of a `mutating` method, also no
/// autoclosure, may use the loop's acceptor or run code of the program. A decision is a small value
/// without references, since one is made for each connection.
struct Acceptor {
    private(set) var listeners: [Listener]
    private(set) var targets: Targets
    /// The number of listeners whose backlogs are being emptied before they close.
    private(set) var emptyingCount = 0
    /// The time of the first request to stop accepting.
    private(set) var stopHeard: Nanoseconds?
    private var emptyingLimit = Self.longestEmptying

    /// Connections accepted from one backlog in one turn of a stopping loop.
    private static var emptyingBudget: Int { 16 }
    /// The same when the time is up: the clients that have waited, and not a flood's. Linux's usual
    /// `net.core.somaxconn`.
    private static var lastEmptyingBudget: Int { 4096 }
    /// The longest time for emptying, since under a flood a backlog is never empty.
    private static var longestEmptying: Nanoseconds { 1_000_000_000 }

    init(_ listeners: [(bound: BoundListener, spreads: Bool)], _ targets: Targets) {
        self.listeners = listeners.map { Listener(bound: $0.bound, spreads: $0.spreads) }
        self.targets = targets
    }

    var indices: Range<Int> { listeners.indices }

    /// Whether the server was requested to stop, and not only one of its listeners.
    var isStopping: Bool { stopHeard != nil }

    /// Whether every listener is closed; true without listeners.
    var hasStopped: Bool { listeners.allSatisfy(\.isClosed) }

    @inline(__always)
    func isBackingOff(_ listener: Int) -> Bool {
        if case .backingOff = listeners[listener].state { true } else { false }
    }

    private mutating func enter(_ state: ListenerState, _ listener: Int) {
        if case .emptying = listeners[listener].state { emptyingCount -= 1 }
        if case .emptying = state { emptyingCount += 1 }
        listeners[listener].state = state
    }

    /// A loop that is behind, if all target loops are; else nil.
    private func behind(_ listener: Int) -> Int? {
        listeners[listener].spreads ? targets.behind() : nil
    }

    // MARK: Starting

    /// Adds a listener of streams, in the place of one that has closed if there is one. Nil if
    /// there are as many as a record of the table can name.
    mutating func add(_ bound: BoundListener, spreads: Bool) -> Int? {
        let listener = Listener(bound: bound, spreads: spreads)
        // A datagram socket is known to programs by its index.
        let free = listeners.firstIndex { $0.isClosed && !$0.bound.isDatagram }
        guard let free else {
            guard listeners.count <= Int(UInt16.max) else { return nil }
            listeners.append(listener)
            return listeners.count - 1
        }
        listeners[free] = listener
        return free
    }

    /// Whether the listener needs a slot before it can start.
    func needsSlot(_ listener: Int) -> Bool {
        let (isStopping, token) = (listeners[listener].isStopping, listeners[listener].token)
        guard !isStopping && token == nil else { return false }
        return listeners[listener].state == .idle || listeners[listener].state == .backingOff
    }

    mutating func attached(_ listener: Int, as token: Token) { listeners[listener].token = token }

    /// Returns the token for which the listener's operation starts; nil if it may not start.
    mutating func start(_ listener: Int) -> Token? {
        guard !listeners[listener].isStopping, let token = listeners[listener].token else {
            return nil
        }
        switch listeners[listener].state {
        case .idle, .backingOff, .full:
            enter(.accepting, listener)
            return token
        case .accepting, .stopping, .emptying, .closing, .closed: return nil
        }
    }

    // MARK: Accepted connections

    enum Admission {
        case place
        /// It was in the backlog when a stop began, so it is served even above the limit.
        case placeBeyondLimit
        /// Waits for room.
        case park
        /// Too late to be served: all loops may be drained already.
        case refuse
    }

    /// Decides about an accepted connection. `takesRoom` is called only if it needs room.
    @inline(__always)
    mutating func admit(on listener: Int, takesRoom: @autoclosure () -> Bool) -> Admission {
        if case .closing = listeners[listener].state { return .refuse }
        received(on: listener)
        if listeners[listener].isStopping { return .placeBeyondLimit }
        return takesRoom() ? .place : .park
    }

    /// Notes a success, which ends a series of failures. Written only after a failure, since a
    /// write checks that no copy shares the array.
    @inline(__always)
    mutating func received(on listener: Int) {
        guard listeners[listener].hasFailed else { return }
        listeners[listener].backOff = Listener.shortestBackOff
        listeners[listener].triesOnceMore = false
    }

    mutating func park(_ stream: AcceptedStream, on listener: Int) {
        listeners[listener].parked.append(stream)
    }

    /// The reason for which a stream of accepts stops, with its token.
    enum Pause: Equatable {
        case full(Token)
        /// All target loops are behind, this one among them.
        case behind(loop: Int, Token)
    }

    /// Decides, after each accepted connection, whether clients now wait in the backlog.
    @inline(__always)
    mutating func pause(_ listener: Int, hasRoom: @autoclosure () -> Bool) -> Pause? {
        let isFull = !hasRoom()
        // Asked in any case, since a loop that is behind must notify.
        let behind = listeners[listener].spreads ? targets.behind() : nil
        guard isFull || behind != nil else { return nil }
        return pause(listener, isFull: isFull, behind: behind)
    }

    @inline(never)
    private mutating func pause(_ listener: Int, isFull: Bool, behind: Int?) -> Pause? {
        guard listeners[listener].state == .accepting, let token = listeners[listener].token else {
            return nil
        }
        enter(.stopping, listener)
        guard !isFull, let behind else { return .full(token) }
        return .behind(loop: behind, token)
    }

    /// Returns the loop of a connection.
    @inline(__always)
    mutating func choose(
        for listener: Int, source: @autoclosure () -> SocketAddress?
    ) -> Targets.Choice {
        listeners[listener].spreads ? targets.choose(source: source) : Targets.Choice()
    }

    // MARK: The end of a stream of accepts

    enum StreamEnd: Equatable {
        /// The listener stops.
        case finish
        case retry(after: Nanoseconds)
        /// Room may have become free before the stream had stopped.
        case resume
    }

    /// Decides after a failed accept, or when there was no slot for the listener.
    mutating func failed(_ listener: Int) -> StreamEnd {
        if listeners[listener].isStopping { return .finish }
        let delay = listeners[listener].backOff
        listeners[listener].backOff = min(delay * 2, Listener.longestBackOff)
        enter(.backingOff, listener)
        guard listeners[listener].triesOnceMore else { return .retry(after: delay) }
        listeners[listener].triesOnceMore = false
        return .retry(after: 0)
    }

    /// Notes the timer that ends the back-off, of which a listener has only one.
    mutating func retries(_ listener: Int, by timer: TimerQueue<TimerAction>.ID) {
        listeners[listener].retry = timer
    }

    mutating func stopped(_ listener: Int) -> StreamEnd {
        if listeners[listener].isStopping { return .finish }
        enter(.full, listener)
        return .resume
    }

    // MARK: Resuming

    /// Returns the next parked connection, if there is one and `takesRoom` then returns true.
    mutating func nextParked(
        on listener: Int, takesRoom: @autoclosure () -> Bool
    ) -> AcceptedStream? {
        guard !listeners[listener].parked.isEmpty, takesRoom() else { return nil }
        return listeners[listener].takeParked()
    }

    /// Whether a listener that waits for room or for a loop may start.
    func mayResume(_ listener: Int, hasRoom: @autoclosure () -> Bool) -> Bool {
        listeners[listener].state == .full && hasRoom() && behind(listener) == nil
    }

    /// Whether a listener that backs off tries again, since a connection of some loop has closed.
    /// One that waits for a slot does not: only this loop's connections have those.
    mutating func retriesAfterClose(_ listener: Int) -> Bool {
        guard listeners[listener].hasFailed, listeners[listener].token != nil else { return false }
        if isBackingOff(listener) { return true }
        listeners[listener].triesOnceMore = listeners[listener].state == .accepting
        return false
    }

    // MARK: Stopping

    /// Stores the time of the first request to stop. A later request may shorten the time for
    /// emptying the backlogs, which is half of `limit` and at most a second.
    mutating func stopRequested(within limit: Nanoseconds, now: Nanoseconds) {
        stopHeard = stopHeard ?? now
        emptyingLimit = min(limit / 2, emptyingLimit)
        for listener in listeners.indices {
            guard case .emptying(let end) = listeners[listener].state else { continue }
            enter(.emptying(until: min(end, now + emptyingLimit)), listener)
        }
    }

    enum Stop: Equatable {
        /// The listener is stopping already, or its stream is being stopped and answers this too.
        case nothing
        case stopStream(StreamKind, Token)
        /// No operation runs.
        case finish
    }

    /// Begins to stop a listener.
    mutating func stop(_ listener: Int) -> Stop {
        guard !listeners[listener].isStopping else { return .nothing }
        listeners[listener].isStopping = true
        switch listeners[listener].state {
        case .accepting:
            guard let token = listeners[listener].token else { return .finish }
            enter(.stopping, listener)
            return .stopStream(listeners[listener].stream, token)
        case .idle, .backingOff, .full: return .finish
        case .stopping, .emptying, .closing, .closed: return .nothing
        }
    }

    /// Whether the listener's connections and its backlog are still to be served.
    func mayFinish(_ listener: Int) -> Bool {
        switch listeners[listener].state {
        case .emptying, .closing, .closed: false
        case .idle, .accepting, .stopping, .backingOff, .full: true
        }
    }

    mutating func takeParked(on listener: Int) -> AcceptedStream? {
        listeners[listener].takeParked()
    }

    /// Returns the parked connections of every listener.
    mutating func takeParked() -> [AcceptedStream] {
        let parked = listeners.flatMap(\.parked)
        for listener in listeners.indices { listeners[listener].parked = [] }
        return parked
    }

    // MARK: Emptying the backlogs

    /// Begins to empty the backlog, after a while also that of a listener that was handed out: the
    /// other server may have failed to start. False if the listener closes at once: a datagram
    /// socket has no backlog, and a short time is not for the other server's clients.
    mutating func beginEmptying(_ listener: Int, isHandedOut: Bool, now: Nanoseconds) -> Bool {
        guard !listeners[listener].bound.isDatagram else { return false }
        if isHandedOut {
            guard emptyingLimit >= 2 * Self.successorTime else { return false }
            listeners[listener].isLeft = true
            listeners[listener].looksAgain = now + Self.successorTime
        }
        enter(.emptying(until: now + emptyingLimit), listener)
        return true
    }

    /// The time for another server, which has the same backlog, to take what waits in it.
    static var successorTime: Nanoseconds { 100_000_000 }

    enum Emptying: Equatable {
        case wait
        /// Accepts at most this many connections. After the last time the listener closes.
        case accept(most: Int, isLast: Bool)
    }

    /// Decides about a backlog. `clock` is the time at this moment, `now` that of the turn.
    func emptying(_ listener: Int, clock: Nanoseconds, now: Nanoseconds) -> Emptying {
        guard case .emptying(let end) = listeners[listener].state else { return .wait }
        // A slow callback may have used up the time before there was a single look.
        if clock >= end {
            let isLeft = listeners[listener].isLeft && listeners[listener].looksAgain > now
            return .accept(most: isLeft ? 0 : Self.lastEmptyingBudget, isLast: true)
        }
        guard listeners[listener].looksAgain <= now, behind(listener) == nil else { return .wait }
        return .accept(most: Self.emptyingBudget, isLast: false)
    }

    /// Waits after an error. Descriptors are short; connections that close free some.
    mutating func emptyingFailed(_ listener: Int, now: Nanoseconds) {
        listeners[listener].looksAgain = now + Listener.shortestBackOff
    }

    /// The next time to check the backlogs: now or after an error's delay. While all loops are
    /// behind, it is the end of emptying, since a loop that catches up posts a message.
    func emptyingDeadline(now: Nanoseconds) -> Nanoseconds? {
        var deadline: Nanoseconds?
        for listener in listeners.indices {
            guard case .emptying(let end) = listeners[listener].state else { continue }
            let time =
                behind(listener) == nil ? min(end, max(now, listeners[listener].looksAgain)) : end
            deadline = min(deadline ?? time, time)
        }
        return deadline
    }

    // MARK: Closing

    enum Closing: Equatable {
        case byDriver(Token)
        /// The driver never had the descriptor, so no `closed` follows.
        case byLoop(Descriptor)
    }

    mutating func close(_ listener: Int) -> Closing {
        let closing = closing(listener)
        if case .byDriver = closing { enter(.closing, listener) } else { enter(.closed, listener) }
        return closing
    }

    mutating func closed(_ listener: Int) { enter(.closed, listener) }

    /// Closes a listener whose loop ends, without an answer of the driver. Nil if it is closed.
    mutating func cut(_ listener: Int) -> Closing? {
        if case .closed = listeners[listener].state { return nil }
        enter(.closed, listener)
        listeners[listener].isCut = true
        return closing(listener)
    }

    /// Returns the listeners that were cut, once.
    mutating func takeCut() -> [BoundListener] {
        let cut = listeners.filter(\.isCut).map(\.bound)
        for listener in listeners.indices { listeners[listener].isCut = false }
        return cut
    }

    private func closing(_ listener: Int) -> Closing {
        if let token = listeners[listener].token { return .byDriver(token) }
        return .byLoop(listeners[listener].bound.descriptor)
    }
}
