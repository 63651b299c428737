/// One listening descriptor of a loop.
struct Listener {
    let bound: BoundListener
    /// The balancer distributes connections to all loops, not only to the accepting one.
    let spreads: Bool
    var state = ListenerState.idle
    var token: Token?
    var isStopping = false
    /// Its loop has ended, and the driver closes it with its own end.
    var isCut = false
    /// Connections accepted after the limit was reached, since a backend may be ahead of the loop.
    /// They wait as if they were still in the backlog.
    var parked: [AcceptedStream] = []
    /// While emptying, after an error: no accept before this time.
    var looksAgain: Nanoseconds = 0
    /// The backlog is another server's too.
    var isLeft = false
    /// Doubles with each consecutive failure.
    var backOff = Self.shortestBackOff
    /// The timer that ends the back-off.
    var retry = TimerQueue<TimerAction>.ID.none
    /// A connection has closed while an accept was tried again, which may have failed before.
    var triesOnceMore = false

    var isClosed: Bool { state == .closed }

    /// Whether the last accept has failed.
    var hasFailed: Bool { backOff != Self.shortestBackOff }

    var stream: StreamKind { bound.isDatagram ? .datagrams : .accept }
    /// The operation that starts the stream.
    var operation: Operation { bound.isDatagram ? .receiveDatagrams : .accept }

    mutating func takeParked() -> AcceptedStream? { parked.isEmpty ? nil : parked.removeFirst() }

    static let shortestBackOff: Nanoseconds = 20_000_000
    static let longestBackOff: Nanoseconds = 500_000_000
}

enum ListenerState: Equatable {
    case idle
    /// The driver's accept stream is running.
    case accepting
    /// That stream is being stopped.
    case stopping
    /// Waits for descriptors or memory.
    case backingOff
    /// Waits for room under the connection limit, or for a loop that is behind.
    case full
    /// Stopping: accepts the backlog's connections, a few in each turn, until this time at most.
    case emptying(until: Nanoseconds)
    /// The driver closes the listener.
    case closing
    case closed
}
