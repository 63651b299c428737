internal import MillraceEventLoop
internal import MillraceSimulation
public import NetAPI

/// A server with a test's handler, on a network without a kernel.
///
/// The handler runs on the library's real loops, with its real options; only sockets, threads and
/// the clock are replaced. Several loops take turns on the test's thread, so a handler may refer to
/// the test's own objects.
public final class TestServer {
    /// The network of this server.
    public let network: TestNetwork
    /// The server that the handler sees. Its `stop` and `run` would wait for ever: use those of
    /// `TestServer`.
    public let server: Server
    private let host: Host
    private let record: HandlerRecord
    /// The peers that `connect` has made, in their order.
    public private(set) var peers: [TestPeer] = []

    /// Creates and starts a server with one handler shared by all loops. Without addresses it
    /// listens on `tcp://127.0.0.1:9000`, or on `udp://127.0.0.1:9000` if the handler serves only
    /// datagrams. Throws the errors of `Server.init` and `start`.
    public convenience init<H: LoopHandler & Sendable>(
        _ handler: H, listen: [Address] = [], options: Options = Options(),
        on network: TestNetwork = TestNetwork()
    ) throws(NetError) {
        try self.init(H.self, listen, options, network) { record, loop in
            (Observed(handler, record), loop == 0)
        }
    }

    /// Creates and starts a server like `init(_:listen:options:on:)`, but with one handler per
    /// loop.
    public convenience init<H: LoopHandler>(
        listen: [Address] = [], options: Options = Options(),
        on network: TestNetwork = TestNetwork(), perLoop make: @escaping @Sendable () -> H
    ) throws(NetError) {
        try self.init(H.self, listen, options, network) { record, _ in
            (Observed(make(), record), true)
        }
    }

    /// Creates and starts a server whose every connection has a task, like
    /// `Server.init(listen:options:serve:)`. The tasks live on the loops, so they run on the test's
    /// thread, in the order of the seed. Other executors work in real time: after a `Task.sleep`,
    /// for example, `TestNetwork.settle(until:)` must wait for the task.
    public convenience init(
        listen: [Address] = [], options: Options = Options(),
        on network: TestNetwork = TestNetwork(),
        serve: @escaping @Sendable (_ connection: AsyncConnection) async throws -> Void
    ) throws(NetError) {
        try self.init(
            TaskHandler(body: serve), listen: listen, options: options.forTasks, on: network)
    }

    private init(
        _ type: any LoopHandler.Type, _ listen: [Address], _ options: Options,
        _ network: TestNetwork,
        _ make:
            @escaping @Sendable (HandlerRecord, Int) -> (handler: any LoopHandler, isPrimary: Bool)
    ) throws(NetError) {
        let usual: Address =
            type is any EventHandler.Type ? "tcp://127.0.0.1:9000" : "udp://127.0.0.1:9000"
        let addresses = listen.isEmpty ? [usual] : listen
        let record = network.engine.makeRecord("server")
        host = try network.engine.add { backend throws(NetError) in
            try Server(addresses, options, handler: type, backend: backend) { loop in
                make(record, loop)
            }
        }
        self.network = network
        self.record = record
        server = host.server
    }

    // MARK: Peers

    /// Connects a peer to a listener, by its place in the list of addresses. `host` is the peer's
    /// own address, in digits; `window` the number of unread bytes that the peer holds. Throws if
    /// the connection is refused.
    public func connect(
        to listener: Int = 0, from host: String? = nil, window: Int? = nil
    ) throws(TestFailure) -> TestPeer {
        let address = try target(listener, isDatagram: false)
        let source = host.map { SocketAddress(host: $0, port: 0) }
        if case .some(nil) = source { throw TestFailure("\(host ?? "") is no host in digits") }
        let core = network.engine.simulated.connect(to: address, from: source ?? nil)
        let peer = TestPeer(core, network.engine, window: window)
        peers.append(peer)
        network.settle()
        if peer.end == .refused { throw TestFailure("\(address) refuses connections") }
        return peer
    }

    /// Creates a peer that sends datagrams to a `udp://` listener, by its place in the list of
    /// addresses; nil: the first such listener.
    public func datagramPeer(to listener: Int? = nil) throws(TestFailure) -> TestDatagramPeer {
        let first = server.boundAddresses.firstIndex { $0.isDatagram }
        guard let place = listener ?? first else {
            throw TestFailure("the server has no udp:// address")
        }
        return TestDatagramPeer(network.engine, to: try target(place, isDatagram: true))
    }

    /// Connects a peer, sends `request` in these pieces, and returns everything that the peer
    /// receives at once. The peer leaves with a close.
    public func reply(to request: Cut) throws(TestFailure) -> TestBytes {
        let peer = try connect()
        peer.send(request)
        defer { peer.close() }
        return peer.received
    }

    /// Returns the reply to a request in one piece, like `reply(to:)` for a cut.
    public func reply(to request: TestBytes) throws(TestFailure) -> TestBytes {
        try reply(to: Cut([request]))
    }

    private func target(
        _ listener: Int, isDatagram: Bool
    ) throws(TestFailure) -> SocketAddress {
        let addresses = server.boundAddresses
        guard addresses.indices.contains(listener) else {
            throw TestFailure("the server has no listener \(listener)")
        }
        let address = addresses[listener]
        guard !address.isSecured else {
            throw TestFailure("\(address) has TLS, which test peers do not speak: use tcp://")
        }
        guard address.isDatagram == isDatagram, let place = address.socketAddress else {
            throw TestFailure("\(address) is of the other kind")
        }
        return place.isWildcard ? place.onThisMachine : place
    }

    // MARK: What the server did

    /// The reasons of the connections that have closed, in their order.
    public var closes: [Close] { record.reasons.map { Close($0) } }

    /// The reasons like `closes`, but as the handler got them, with their errors.
    public var closeReasons: [CloseReason] { record.reasons }

    /// The number of connections whose `onOpen` was called.
    public var opens: Int { record.opens }

    /// The number of connections alive now.
    public var connectionCount: Int { server.connectionCount }

    /// The server's counters.
    public var statistics: Statistics { server.statistics }

    /// Runs `body` on a serving loop, like `LoopHandle.execute`, and everything that it causes.
    public func execute(on loop: Int = 0, _ body: @escaping @Sendable (NetAPI.Loop) -> Void) {
        guard let remotes = server.group?.servingRemotes, remotes.indices.contains(loop) else {
            return network.engine.noteProblem("execute on loop \(loop), which does not run")
        }
        LoopHandle(remote: remotes[loop]).execute(body)
        network.settle()
    }

    // MARK: Time

    /// Moves the network's clock, like `TestNetwork.advance`.
    public func advance(by time: Duration) { network.advance(by: time) }

    /// Runs everything that is due, like `TestNetwork.settle`.
    public func settle() { network.settle() }

    // MARK: The end

    /// Whether every loop has ended.
    public var hasEnded: Bool { host.hasEnded }

    /// The reason for which the server ends; nil while it serves.
    public var stopReason: StopReason? { server.group?.stopCause.map { StopReason($0) } }

    /// Requests a stop, like `Server.requestStop`. The clock decides how far it gets.
    public func requestStop(within limit: Duration = .seconds(10)) {
        server.requestStop(within: limit)
        network.settle()
    }

    /// Stops like `Server.stop` and advances the clock until the server has ended. Returns the time
    /// that this took. Throws if the server does not end, or if it leaves memory or sockets behind.
    @discardableResult
    public func stop(within limit: Duration = .seconds(10)) throws(TestFailure) -> Duration {
        let begin = network.now
        server.requestStop(within: limit)
        let engine = network.engine
        let timeouts = server.options.timeouts
        // Added one by one, since each of them, and their sum, may be longer than any clock runs.
        let end = [limit, timeouts.linger, timeouts.linger, timeouts.close, .seconds(60)]
            .reduce(engine.simulated.now) { $0.adding($1) }
        guard engine.run(until: end, { host.hasEnded }) else {
            throw TestFailure("the server has not ended \(network.now - begin) after its stop")
        }
        let time = network.now - begin
        network.settle()
        let mistakes = host.mistakes + engine.simulated.violations
        if !mistakes.isEmpty { throw TestFailure(mistakes.joined(separator: "; ")) }
        return time
    }
}

extension SocketAddress {
    /// The address under which peers on the same machine reach a socket that is bound to every
    /// address.
    fileprivate var onThisMachine: SocketAddress {
        guard case .v6(_, let port, _) = self else {
            return SocketAddress(host: "127.0.0.1", port: port ?? 0) ?? self
        }
        return SocketAddress(host: "::1", port: port) ?? self
    }
}
