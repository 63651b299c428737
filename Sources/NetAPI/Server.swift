internal import Logging
package import MillraceEventLoop

/// A server that listens on its addresses and serves them with a handler.
///
/// All its methods may be called from any thread; the documentation names those that wait. A server
/// runs until it is stopped, even without a reference to it. A stop is final, also before the
/// start: make another server.
public final class Server: Sendable {
    package let options: Options
    let listenAddresses: [Address]
    /// The type of the program's handlers.
    private let handlerType: any LoopHandler.Type
    let configuration: LoopGroup.Configuration
    let chosen: ChosenBackend
    let logger: Logger
    package let workers: WorkerPool
    let resolver: any NameResolver
    /// The system's resolver of this server, whose threads end with it; nil: the program has one.
    private let ownResolver: SystemResolver?
    let listenLookups = ListenLookups()
    /// Those of addresses that are added while the server runs.
    let furtherLookups = Monitor<[ObjectIdentifier: ListenLookups]>([:])
    /// It serves a `Client`, and listens on no address.
    let isClient: Bool
    typealias MakeHandler =
        @Sendable (_ loop: Int) -> (handler: any LoopHandler, isPrimary: Bool)
    /// The factory of the handlers, kept until the end.
    private let makeHandler: Monitor<MakeHandler?>
    let state = Monitor(ServerState.ready)

    // MARK: Creation

    /// Creates a server with one handler shared by all loops. Its methods run on several threads at
    /// once, so it must be Sendable.
    ///
    /// Throws `.invalidAddress`, `.invalidOption` or `.backendUnavailable`. Nothing is bound yet.
    public convenience init(
        _ handler: some LoopHandler & Sendable, listen: Address..., options: Options = Options()
    ) throws(NetError) {
        try self.init(handler, listen: listen, options: options)
    }

    /// Creates a server like `init(_:listen:options:)`, for a list made at run time.
    public convenience init(
        _ handler: some LoopHandler & Sendable, listen: [Address], options: Options = Options()
    ) throws(NetError) {
        try self.init(listen, options, handler: type(of: handler)) { loop in
            (handler, loop == 0)
        }
    }

    /// Creates a server with one handler per loop, made on that loop: it needs no locks, even with
    /// `var`s. Throws the same errors as the initializers with a shared handler.
    public convenience init<H: LoopHandler>(
        listen: Address..., options: Options = Options(), perLoop make: @escaping @Sendable () -> H
    ) throws(NetError) {
        try self.init(listen, options, handler: H.self) { _ in (make(), true) }
    }

    /// Creates a server like `init(listen:options:perLoop:)`, for a list made at run time.
    public convenience init<H: LoopHandler>(
        listen: [Address], options: Options = Options(), perLoop make: @escaping @Sendable () -> H
    ) throws(NetError) {
        try self.init(listen, options, handler: H.self) { _ in (make(), true) }
    }

    /// Checks that the server can serve an address. The handler must have its callback: without it
    /// the handler would never be called.
    func check(_ address: Address) throws(NetError) {
        func missing(_ name: String, _ callback: String) -> NetError {
            NetError(
                .invalidOption,
                "\(address) is listed, but \(handlerType) does not conform to \(name)",
                "add it and write \(callback)")
        }
        guard address.isValid else { throw .invalidAddress(address.description) }
        if address.isDatagram && !(handlerType is any DatagramHandler.Type) {
            throw missing("DatagramHandler", "onDatagram")
        }
        if !address.isDatagram && !(handlerType is any EventHandler.Type) {
            throw missing("EventHandler", "onTraffic")
        }
        if address.isSecured && options.acceptingFilters == nil {
            throw .lacksProvider(address, "tls")
        }
    }

    /// Creates a server or a client. `handler` is the type of the program's handlers. `backend`
    /// replaces the choice by name, for simulations.
    package init(
        _ listen: [Address], _ options: Options, handler: any LoopHandler.Type,
        backend: SimulatedBackend? = nil, isClient: Bool = false,
        _ makeHandler: @escaping @Sendable (Int) -> (handler: any LoopHandler, isPrimary: Bool)
    ) throws(NetError) {
        guard !listen.isEmpty || isClient else {
            throw .invalidOption("the list of addresses", "empty", "give at least one")
        }
        listenAddresses = listen
        handlerType = handler
        self.isClient = isClient
        self.options = options
        workers = WorkerPool(
            threads: options.workers.threads, queued: options.workers.queued,
            running: backend?.workers ?? .onThreads)
        var configuration = try options.configuration()
        // A client has no acceptor that hands connections out: each loop connects for itself.
        if isClient { configuration.reusePort = true }
        configuration.loop.workers = workers
        if let given = options.names.resolver {
            ownResolver = nil
            resolver = LoopResolver(resolver: given)
        } else if backend != nil {
            ownResolver = nil
            resolver = LoopResolver(resolver: NoResolver())
        } else {
            let own = SystemResolver(
                threads: options.names.threads, queued: options.names.queued)
            ownResolver = own
            resolver = LoopResolver(resolver: own)
        }
        configuration.loop.resolver = resolver
        self.configuration = configuration
        if let backend {
            chosen = backend.chosen
            // Thousands of seeds degrade on purpose.
            logger =
                options.logger ?? Logger(label: "millrace") { _ in SwiftLogNoOpLogHandler() }
        } else {
            logger = options.logger ?? Logger(label: "millrace")
            chosen = try ChosenBackend.choose(options)
        }
        self.makeHandler = Monitor(makeHandler)
        for address in listen { try check(address) }
        try checkTogether(listen)
    }

    func letGoOfHandler() {
        var gone: MakeHandler?
        makeHandler.withLock { swap(&$0, &gone) }
    }

    func stopLookups() { ownResolver?.stop() }

    // MARK: Starting

    /// Binds. `lookedUp` runs when the names in the list are known, which may take long.
    func bind(
        lookedUp: () throws(NetError) -> Void = {}
    ) throws(NetError) -> (LoopGroup, Listeners) {
        let wanted: [ListenAddress]
        do throws(NetError) {
            wanted = try toBind(listenAddresses, listenLookups)
            try lookedUp()
        } catch {
            // From the group on, it owns them.
            for descriptor in Set(listenAddresses.compactMap(\.inherited)) {
                chosen.sockets.discard(Descriptor(descriptor))
            }
            throw error
        }
        let logger = logger
        let log = ReportLog(logger: logger, addresses: listenAddresses)
        let report: ChosenBackend.Report = { log.record($0) }
        if let reason = chosen.fallBack.reason { report(.backendFellBack(reason)) }
        // Unowned, because the server holds the group. Adapters, which live while loops run, hold
        // the server.
        let parts = LoopGroup.Parts(
            sockets: chosen.sockets, makeDriver: { [chosen] in try chosen.makeDriver(report) },
            makeDelegate: { [unowned self] loop in
                guard let make = makeHandler.withLock({ $0 }) else {
                    preconditionFailure("a handler is wanted after the end")
                }
                let (handler, isPrimary) = make(loop)
                return handler.adapter(isPrimary: isPrimary, server: self)
            },
            report: report)
        let group = LoopGroup(configuration, parts)
        group.whenEnded { [workers, ownResolver] in
            workers.stop()
            ownResolver?.stop()
        }
        do throws(ListenFailure) {
            return (group, try group.listen(on: wanted))
        } catch {
            throw bindError(listenAddresses[error.address], wanted[error.address], error.error)
        }
    }

    func listening(_ listeners: Listeners) -> [Listening] {
        listenAddresses.indices.map {
            Listening(
                place: $0, wanted: listenAddresses[$0], at: listeners.addresses[$0],
                datagramSockets: listeners.datagramSockets(of: $0))
        }
    }

    // MARK: State

    /// The real addresses, in the order of the list: port 0 is replaced by the one that the kernel
    /// chose. Then follow those of `listen(on:)`. Known from `onBoot` on, empty before.
    public var boundAddresses: [Address] { listening.map(\.real) }

    var listening: [Listening] {
        state.withLock { state in
            if case .started(_, let listening) = state { listening } else { [] }
        }
    }

    /// The sockets of the `udp://` addresses, in the order of the list: with `Options.reusePort`
    /// one on each loop, otherwise one for each address. Known from `onBoot` on, empty before, and
    /// without those that the server has stopped listening on.
    ///
    /// A server that only receives from a multicast group joins it in `onBoot`, by one of these
    /// sockets: each socket that joins receives every datagram of the group. The first one is on
    /// the loop of `onBoot` if the server has one loop, `reusePort`, or `udp://` at the head of its
    /// list. Only there does `DatagramSocket.join` report errors.
    public var datagramSockets: [DatagramSocket] {
        guard case .started(let group, let listening) = state.withLock({ $0 }),
            let remotes = group.allRemotes
        else { return [] }
        return listening.flatMap { listening in
            listening.datagramSockets.map { socket in
                DatagramSocket(
                    place: DatagramPlace(
                        remote: remotes[socket.loop], index: socket.index,
                        localAddress: listening.real))
            }
        }
    }

    /// The number of connections alive now, each until its `onClose`.
    public var connectionCount: Int { statistics.open }

    /// The chosen backend and, after a fallback, the reason for it.
    public var backend: (chosen: Backend, reason: String?) {
        (chosen.backend, chosen.fallBack.reason)
    }

    /// The number of loops that serve connections.
    public var loopCount: Int { configuration.loops }

    /// The counters of the loops, summed when read.
    public var statistics: Statistics {
        var statistics = Statistics()
        for remote in group?.remotes ?? [] { statistics.add(remote) }
        statistics.offloadsWaiting = workers.waiting
        statistics.offloadRefusals += workers.refusals
        statistics.offloadsSkipped = workers.skips
        return statistics
    }

    /// The counters of each loop, the serving loops first; then, if there is one, those of the
    /// acceptor. `offloadsWaiting` and `offloadsSkipped` count in `statistics` only.
    public var loopStatistics: [Statistics] {
        (group?.remotes ?? []).map { remote in
            var statistics = Statistics()
            statistics.add(remote)
            return statistics
        }
    }

    /// Runs `body` for every open connection, each on its own loop, and returns at once. A loop
    /// whose mailbox is full is skipped and counted in `Statistics.refusedPosts`.
    public func forEachConnection(_ body: @escaping @Sendable (Connection) -> Void) {
        for remote in group?.servingRemotes ?? [] {
            remote.run { loop in loop.forEachOpen { body(Connection($0)) } }
        }
    }

    package var group: LoopGroup? {
        state.withLock { state in
            if case .started(let group, _) = state { group } else { nil }
        }
    }
}

/// A backend without a kernel, for simulations.
package struct SimulatedBackend {
    let chosen: ChosenBackend
    let workers: WorkerPool.Running

    package init(
        sockets: any Sockets, workers: WorkerPool.Running = .atOnce,
        makeDriver: @escaping @Sendable () throws(SystemError) -> any Driver
    ) {
        self.workers = workers
        chosen = ChosenBackend(
            backend: Backend(description: "simulated"), fallBack: FallBack(nil),
            makeDriver: { _ in try makeDriver() },
            sockets: sockets)
    }
}

extension NetError {
    init(startFailed error: any Error) {
        if let error = error as? NetError {
            self = error
        } else if let error = error as? SystemError {
            self.init(error)
        } else {
            self.init(.system, "onBoot threw \(error)")
        }
    }
}
