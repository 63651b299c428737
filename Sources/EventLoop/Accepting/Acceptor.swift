/// The listeners of a loop, and the loops that their connections may go to.
struct Acceptor {
    var listeners: [Listener]
    var targets: Targets
    /// The number of listeners whose backlogs are being emptied before they close.
    private(set) var emptyingCount = 0
    /// The time of the first request to stop accepting.
    var stopHeard: Nanoseconds?
    var emptyingLimit = Self.longestEmptying

    /// The longest time for emptying, since under a flood a backlog is never empty.
    private static var longestEmptying: Nanoseconds { 1_000_000_000 }

    init(_ listeners: [(bound: BoundListener, spreads: Bool)], _ targets: Targets) {
        self.listeners = listeners.map { Listener(bound: $0.bound, spreads: $0.spreads) }
        self.targets = targets
    }

    var indices: Range<Int> { listeners.indices }

    /// Whether accepting on any listener was requested to stop.
    var isStopping: Bool { listeners.contains { $0.isStopping } }

    /// Whether every listener is closed; true without listeners.
    var hasStopped: Bool {
        listeners.allSatisfy { listener in
            if case .closed = listener.state { true } else { false }
        }
    }

    @inline(__always)
    func isBackingOff(_ listener: Int) -> Bool {
        if case .backingOff = listeners[listener].state { true } else { false }
    }

    /// Changes the state of a listener.
    mutating func enter(_ state: ListenerState, _ listener: Int) {
        if case .emptying = listeners[listener].state { emptyingCount -= 1 }
        if case .emptying = state { emptyingCount += 1 }
        listeners[listener].state = state
    }

    /// A loop that is behind, if all target loops are; else nil.
    func behind(_ listener: Int) -> Int? {
        listeners[listener].spreads ? targets.behind() : nil
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
}
