import CMillraceLinux
import Synchronization

/// The loops of one server: which of them accept and serve, and the order of start and stop.
///
/// Either every loop accepts (one loop, or `reusePort`), or an additional loop accepts for all the
/// others.
package final class LoopGroup: Sendable {
    package struct Configuration: Sendable {
        package var loops = 1
        package var reusePort = false
        package var balancer = Balancer.Policy.roundRobin
        package var connectionLimit = Int.max
        /// The most connections of one host; nil: hosts are not counted.
        package var hostLimit: Int?
        package var pinLoops = false
        package var listen = ListenOptions()
        package var loop = LoopConfiguration()

        package init() {}
    }

    /// The parts that a group is made of, called on the loops' threads.
    package struct Parts: Sendable {
        package let sockets: any Sockets
        package let makeDriver: @Sendable () throws -> any Driver
        package let makeDelegate: @Sendable (_ loop: Int) -> any LoopDelegate
        package let report: @Sendable (LoopReport) -> Void

        package init(
            sockets: any Sockets,
            makeDriver: @escaping @Sendable () throws -> any Driver,
            makeDelegate: @escaping @Sendable (_ loop: Int) -> any LoopDelegate,
            report: @escaping @Sendable (LoopReport) -> Void
        ) {
            self.sockets = sockets
            self.makeDriver = makeDriver
            self.makeDelegate = makeDelegate
            self.report = report
        }
    }

    struct State {
        var verdict = Verdict.undecided
        var remotes: [LoopRemote?]
        var booted = 0
        var bootError: (any Error)?
        var stop: (cause: StopCause, within: Nanoseconds)?
        var accepting: Set<Int>
        var undrained: Set<Int>
        var alive: Int
        /// The loops have no threads: a simulation turns them.
        var isStepped = false
        var whenStopping: [@Sendable () -> Void] = []
        var whenEnded: [@Sendable () -> Void] = []
    }

    struct Joiner {
        /// Threads that no caller joins yet.
        var threads: [LoopThread] = []
        var isJoining = false
    }

    enum Verdict {
        case undecided
        case run
        case abandon
    }

    package let configuration: Configuration
    let parts: Parts
    /// The serving loops come first; an acceptor, if there is one, last.
    let loopCount: Int
    let state: Monitor<State>
    let connections = Atomic(0)
    /// Connections that were accepted and wait for room.
    let parked = Atomic(0)
    /// A listener waits for descriptors or memory.
    let isCloseAwaited = Atomic(false)
    let hosts = Monitor<[SocketAddress: Int]>([:])
    let joiner = Monitor(Joiner())
    let handedOut = Monitor(OpenListeners())
    /// The processor of each serving loop, if loops are pinned. Chosen before that: a pinned thread
    /// may use only its own.
    let processors: [CInt]

    /// The time limit of a stop without a limit of its own.
    package static let defaultStopLimit: Nanoseconds = 10_000_000_000

    package init(_ configuration: Configuration, _ parts: Parts) {
        self.configuration = configuration
        self.parts = parts
        let needsAcceptor = configuration.loops > 1 && !configuration.reusePort
        loopCount = configuration.loops + (needsAcceptor ? 1 : 0)
        processors =
            configuration.pinLoops
            ? (0..<configuration.loops).map { mr_processor(CInt($0)) } : []
        state = Monitor(
            State(
                remotes: Array(repeating: nil, count: loopCount),
                accepting: Set(0..<loopCount), undrained: Set(0..<loopCount), alive: loopCount))
    }

    deinit {
        // No caller can join them any more.
        for thread in joiner.withLock({ $0.threads }) { thread.detach() }
    }

    // MARK: Making loops, on their own threads

    /// Makes a loop's driver and remote end, which the other loops need before the loop exists.
    func makeRemote(_ index: Int) throws -> (any Driver, LoopRemote) {
        let driver = try parts.makeDriver()
        let remote = Loop.remote(
            index: index, capacity: configuration.loop.mailboxCapacity, driver: driver)
        return (driver, remote)
    }

    func makeLoop(
        _ index: Int, _ driver: any Driver, _ remotes: [LoopRemote],
        _ listeners: [(bound: BoundListener, spreads: Bool)]
    ) -> Loop {
        let serves = index < configuration.loops
        return Loop(
            index: index, remote: remotes[index], driver: driver, sockets: parts.sockets,
            delegate: serves ? parts.makeDelegate(index) : AcceptorDelegate(),
            configuration: configuration.loop, listeners: listeners,
            targets: Array(remotes.prefix(configuration.loops)), balancer: configuration.balancer,
            owner: self)
    }

    // MARK: For any thread

    package var remotes: [LoopRemote] {
        state.update { state in state.remotes.compactMap { $0 } }
    }

    /// The remote end of each loop, by its number; nil until every loop has one.
    package var allRemotes: [LoopRemote]? {
        let known = remotes
        return known.count == loopCount ? known : nil
    }

    /// The loops that serve connections.
    package var servingRemotes: [LoopRemote] { Array(remotes.prefix(configuration.loops)) }

    /// Requests a graceful end. The first cause stands; a later call can only shorten the time.
    package func stop(_ cause: StopCause, within limit: Nanoseconds) {
        let (isFirst, mayBegin, isDraining, bodies) = state.update { state in
            let isFirst = state.stop == nil
            defer { state.whenStopping = [] }
            // A drain that has not begun yet uses the shorter time when it does.
            state.stop = (state.stop?.cause ?? cause, min(state.stop?.within ?? limit, limit))
            return (isFirst, state.verdict == .run, state.accepting.isEmpty, state.whenStopping)
        }
        defer { for body in bodies { body() } }
        guard mayBegin else { return }
        if isFirst { post(.stopAccepting(within: limit)) }
        if !isFirst { post(isDraining ? .drain(within: limit) : .stopAccepting(within: limit)) }
    }

    func post(_ message: LoopMessage) {
        for remote in remotes { remote.postFirst(message) }
    }

    /// Runs `body` once, on the thread that requests the stop; at once if that has happened.
    package func whenStopping(_ body: @escaping @Sendable () -> Void) {
        let isOver = state.update { state in
            if state.stop == nil { state.whenStopping.append(body) }
            return state.stop != nil
        }
        if isOver { body() }
    }

    /// Runs `body` on the last loop's thread when every loop has ended; at once if they have.
    package func whenEnded(_ body: @escaping @Sendable () -> Void) {
        let isOver = state.update { state in
            if state.alive > 0 { state.whenEnded.append(body) }
            return state.alive == 0
        }
        if isOver { body() }
    }

    /// Waits until every loop has ended and returns the cause. Not from a loop's thread.
    package func waitUntilEnded() -> StopCause {
        precondition(
            !state.withLock { $0.isStepped && $0.alive > 0 },
            "a simulated server or client ends in steps of its network: do not wait for it")
        return state.wait { $0.alive == 0 ? $0.stop?.cause ?? .requested : nil }
    }

    /// Whether a simulation turns the loops, on the thread that would wait for them.
    package var isStepped: Bool { state.withLock { $0.isStepped } }

    package var stopCause: StopCause? { state.update { $0.stop?.cause } }

    func loopEnded() {
        let (bodies, isLast) = state.update { state in
            state.alive -= 1
            guard state.alive == 0 else { return ([@Sendable () -> Void](), false) }
            defer { state.whenEnded = [] }
            return (state.whenEnded, true)
        }
        if isLast { for body in bodies { body() } }
    }
}

extension LoopGroup: LoopLifecycle, LoopReporting {
    package func stopRequested(_ cause: StopCause) { stop(cause, within: Self.defaultStopLimit) }

    package func acceptingStopped(_ loop: Int) {
        let limit = state.update { state -> Nanoseconds? in
            guard state.accepting.remove(loop) != nil, state.accepting.isEmpty else { return nil }
            return state.stop?.within ?? Self.defaultStopLimit
        }
        if let limit { post(.drain(within: limit)) }
    }

    package func drained(_ loop: Int) {
        let isLast = state.update { state in
            state.undrained.remove(loop) != nil && state.undrained.isEmpty
        }
        if isLast { post(.end) }
    }

    /// Whether no loop has a connection left or will get one.
    var isDrained: Bool { state.withLock { $0.undrained.isEmpty } }

    package func caughtUp() { resumeAccepting() }

    func resumeAccepting() {
        for remote in remotes
        where !remote.isResuming.exchange(true, ordering: .sequentiallyConsistent) {
            remote.postFirst(.resumeAccepting)
        }
    }

    package func report(_ event: LoopReport) { parts.report(event) }
}
