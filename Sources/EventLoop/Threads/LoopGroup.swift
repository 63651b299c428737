import CMillraceLinux
import Glibc
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
    let hosts = Monitor<[SocketAddress: Int]>([:])
    let joiner = Monitor(Joiner())
    let handedOut = Monitor(OpenListeners())

    /// The time limit of a stop without a limit of its own.
    package static let defaultStopLimit: Nanoseconds = 10_000_000_000

    package init(_ configuration: Configuration, _ parts: Parts) {
        self.configuration = configuration
        self.parts = parts
        let needsAcceptor = configuration.loops > 1 && !configuration.reusePort
        loopCount = configuration.loops + (needsAcceptor ? 1 : 0)
        state = Monitor(
            State(
                remotes: Array(repeating: nil, count: loopCount),
                accepting: Set(0..<loopCount), undrained: Set(0..<loopCount), alive: loopCount))
    }

    deinit {
        // No caller can join them any more.
        for thread in joiner.withLock({ $0.threads }) { thread.detach() }
    }

    private var hasAcceptor: Bool { loopCount > configuration.loops }

    // MARK: Listening

    /// Binds every address, for each loop that accepts. An error leaves no address bound. Inherited
    /// descriptors belong to the group from here on, so an error closes them.
    package func listen(
        on addresses: [ListenAddress]
    ) throws(ListenFailure) -> Listeners {
        var listeners = Listeners(perLoop: Array(repeating: [], count: loopCount))
        var inherited = Set(addresses.compactMap(\.inherited))
        var place = 0
        do throws(SystemError) {
            inherited = try inheritedOnce(addresses, &place)
            for wanted in addresses.indices {
                place = wanted
                try listenOnFirst(of: addresses[wanted], wanted, &listeners)
            }
            return listeners
        } catch {
            let adopted = listeners.perLoop.joined().map(\.bound.descriptor)
            discard(listeners)
            for left in inherited.subtracting(adopted) { parts.sockets.discard(left) }
            throw ListenFailure(address: place, error: error)
        }
    }

    /// Checks the inherited descriptors before any bind. Otherwise the kernel could assign a number
    /// that is not open to the group's next socket. That socket would then pass for the inherited
    /// one.
    private func inheritedOnce(
        _ addresses: [ListenAddress], _ place: inout Int
    ) throws(SystemError) -> Set<Descriptor> {
        var inherited: Set<Descriptor> = []
        for wanted in addresses.indices {
            place = wanted
            guard let descriptor = addresses[wanted].inherited else { continue }
            // Two owners of one descriptor would both close it.
            guard inherited.insert(descriptor).inserted else { throw SystemError(EEXIST, "adopt") }
            parts.sockets.discard(try parts.sockets.duplicate(descriptor))
        }
        return inherited
    }

    /// Listens on the first of a host's addresses that this machine has.
    private func listenOnFirst(
        of wanted: ListenAddress, _ place: Int, _ listeners: inout Listeners
    ) throws(SystemError) {
        var candidate = wanted
        var others = wanted.others[...]
        while true {
            do throws(SystemError) {
                return try listen(on: candidate, place, &listeners)
            } catch {
                // Any other error, a port in use among them, is one that the program should see.
                guard error.isAboutAddress, listeners.addresses.count == place,
                    let next = others.popFirst()
                else { throw error }
                candidate.address = next
            }
        }
    }

    private func listen(
        on wanted: ListenAddress, _ place: Int, _ listeners: inout Listeners
    ) throws(SystemError) {
        var options = configuration.listen
        options.onlyV6 = wanted.onlyV6
        // A datagram socket is served on the loop that reads it, so never on an acceptor.
        let first =
            wanted.isDatagram && !configuration.reusePort
            ? place % configuration.loops : hasAcceptor ? loopCount - 1 : 0
        options.reusePort = configuration.reusePort && wanted.address.port != nil
        options.reusePort = options.reusePort && wanted.inherited == nil
        let pins = configuration.pinLoops && options.reusePort
        if pins { options.incomingCPU = mr_processor(0) }
        let bound = try open(wanted.address, wanted, options)
        // A Unix path can be bound only once, so one loop accepts for all.
        let isShared = options.reusePort && configuration.loops > 1
        listeners.perLoop[first].append((bound, spreads: !isShared && configuration.loops > 1))
        listeners.addresses.append(bound.address)
        handedOut.withLock { $0.add(bound, place) }
        guard isShared else { return }
        // The kernel chose the first listener's port for port 0; the others share it.
        let real = wanted.address.with(port: bound.address.port)
        for loop in 1..<configuration.loops {
            if pins { options.incomingCPU = mr_processor(CInt(loop)) }
            let another = try open(real, wanted, options)
            listeners.perLoop[loop].append((another, spreads: false))
            handedOut.withLock { $0.add(another, place) }
        }
    }

    private func open(
        _ address: SocketAddress, _ wanted: ListenAddress, _ options: ListenOptions
    ) throws(SystemError) -> BoundListener {
        var bound = try openPlain(address, wanted, options)
        bound.isSecured = wanted.isSecured
        return bound
    }

    private func openPlain(
        _ address: SocketAddress, _ wanted: ListenAddress, _ options: ListenOptions
    ) throws(SystemError) -> BoundListener {
        if let inherited = wanted.inherited {
            let bound = try parts.sockets.adopt(inherited)
            guard bound.isDatagram == wanted.isDatagram else {
                throw SystemError(EPROTOTYPE, "adopt")
            }
            return bound
        }
        do throws(SystemError) {
            return try bind(address, wanted, options)
        } catch {
            // The wildcard address of a machine without IPv6, or with IPv6 disabled.
            guard wanted.isAnyHost, case .v6(_, let port, _) = address, error.isAboutAddress
            else { throw error }
            return try bind(.v4(IPv4Bytes(0), port: port), wanted, options)
        }
    }

    private func bind(
        _ address: SocketAddress, _ wanted: ListenAddress, _ options: ListenOptions
    ) throws(SystemError) -> BoundListener {
        if wanted.isDatagram { return try parts.sockets.bindDatagrams(on: address, options) }
        return try parts.sockets.listen(on: address, options)
    }

    package func discard(_ listeners: Listeners) {
        for listener in listeners.perLoop.joined() {
            if listenerCloses(listener.bound) { parts.sockets.removePath(of: listener.bound) }
            parts.sockets.discard(listener.bound.descriptor)
        }
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

    /// The loops that serve connections.
    package var servingRemotes: [LoopRemote] { Array(remotes.prefix(configuration.loops)) }

    /// Requests a graceful end. The first cause stands; a later call can only shorten the time.
    package func stop(_ cause: StopCause, within limit: Nanoseconds) {
        let (isFirst, mayBegin, isDraining) = state.update { state in
            let isFirst = state.stop == nil
            // A drain that has not begun yet uses the shorter time when it does.
            state.stop = (state.stop?.cause ?? cause, min(state.stop?.within ?? limit, limit))
            return (isFirst, state.verdict == .run, state.accepting.isEmpty)
        }
        guard mayBegin else { return }
        if isFirst { post(.stopAccepting(within: limit)) }
        if !isFirst { post(isDraining ? .drain(within: limit) : .stopAccepting(within: limit)) }
    }

    func post(_ message: LoopMessage) {
        for remote in remotes { remote.postFirst(message) }
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

/// An address to listen on, and the kind of its socket.
package struct ListenAddress: Sendable {
    package fileprivate(set) var address: SocketAddress
    package let onlyV6: Bool
    package let isDatagram: Bool
    /// The wildcard address: without IPv6, IPv4 alone is enough.
    package let isAnyHost: Bool
    /// A socket that is already bound.
    package let inherited: Descriptor?
    /// Accepted connections get a filter.
    package let isSecured: Bool
    /// The host's other addresses, for the case that this machine does not have the first.
    package let others: [SocketAddress]

    package init(
        _ address: SocketAddress, onlyV6: Bool = false, isDatagram: Bool = false,
        isAnyHost: Bool = false, isSecured: Bool = false, inherited: Descriptor? = nil,
        others: [SocketAddress] = []
    ) {
        self.others = others
        self.isSecured = isSecured
        self.isAnyHost = isAnyHost
        self.inherited = inherited
        self.address = address
        self.onlyV6 = onlyV6
        self.isDatagram = isDatagram
    }
}

/// Bound sockets by loop, and their addresses in the order requested.
package struct Listeners: Sendable {
    package var perLoop: [[(bound: BoundListener, spreads: Bool)]]
    package var addresses: [SocketAddress] = []
}

/// The index of the address that could not be listened on, and its error.
package struct ListenFailure: Error {
    package let address: Int
    package let error: SystemError
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
