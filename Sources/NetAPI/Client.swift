internal import Glibc
internal import MillraceEventLoop
internal import Synchronization

/// A client that connects out, with the same handlers and options as a server.
///
/// All its methods may be called from any thread. Its connections live on its own loops, which it
/// uses in turn. `onBoot`, `onTick` and `onShutdown` of the handler run on them too.
public final class Client: Sendable {
    package let core: Server
    private let turn = Atomic(0)
    /// Its connections are used by `withConnection`.
    let isForTasks: Bool

    /// Creates a client with one handler shared by all loops. Throws `.invalidOption` or
    /// `.backendUnavailable`.
    public init(
        _ handler: some EventHandler & Sendable, options: Options = Options()
    ) throws(NetError) {
        isForTasks = handler is TaskHandler
        core = try Server([], options, handler: type(of: handler), isClient: true) { loop in
            (handler, loop == 0)
        }
    }

    /// Creates a client on a network without a kernel.
    package init(
        _ handler: some EventHandler & Sendable, _ options: Options, on backend: SimulatedBackend,
        isForTasks: Bool = false
    ) throws(NetError) {
        self.isForTasks = isForTasks
        core = try Server(
            [], options, handler: type(of: handler), backend: backend, isClient: true
        ) { loop in (handler, loop == 0) }
    }

    /// Starts the loops. Throws the errors of `Server.start`.
    public func start() throws(NetError) { try core.start() }

    /// Closes every connection gracefully and waits for the end, like `Server.stop`. Does not wait
    /// on a loop's thread.
    public func stop(within limit: Duration = .seconds(10)) { core.stop(within: limit) }

    /// Stops like the blocking `stop(within:)`, but suspends the task and blocks no thread of the
    /// pool.
    public func stop(within limit: Duration = .seconds(10)) async {
        await core.stop(within: limit)
    }

    /// The number of connections that are alive or being made. A connect to a name counts each
    /// attempt that runs, and nothing while the name is looked up.
    public var connectionCount: Int { core.connectionCount }
    /// The counters of the loops, summed when read.
    public var statistics: Statistics { core.statistics }
    /// The backend that runs and, after a fallback, the reason for it.
    public var backend: (chosen: Backend, reason: String?) { core.backend }

    /// Connects without blocking. `done` runs once, with the connection or the error. It runs on
    /// the new connection's loop, before its `onOpen`, or there with `.timedOut`,
    /// `.invalidAddress`, `.insecure`, or `.system` and the kernel's error. It runs on the calling
    /// thread with `.closed` if the client does not run, or with `.overloaded` if that loop's
    /// mailbox is full.
    ///
    /// A host that is a name is looked up, which may also fail with `.unresolved` or `.overloaded`.
    /// Its addresses are tried in turn, IPv6 first: the next one when the last one has failed, or
    /// `Options.Names.attemptDelay` later beside it. The first socket that is connected wins, and
    /// the others are closed. `timeout` covers the lookup, every attempt, and a handshake of TLS,
    /// which follows on the winner. `NetError.step` is the step that failed. A client that stops
    /// reports each pending connect, with `.system`.
    ///
    /// `udp://` connects a datagram socket. Then `onTraffic` runs once per datagram, and each flush
    /// of written bytes is a datagram. A broadcast address needs nothing more.
    public func connect(
        to address: Address, timeout: Duration = .seconds(10),
        _ done: @escaping @Sendable (Result<Connection, NetError>) -> Void
    ) {
        let refusal = onNextLoop { loop in
            Loop(core: loop).connect(to: address, timeout: timeout) { done($0) }
        }
        if let refusal { done(.failure(refusal)) }
    }

    /// Serves a stream that was connected elsewhere, such as one end of a socket pair. The client
    /// owns the descriptor from now on. `onOpen` runs on one of its loops. On an error the
    /// descriptor is closed and `failed` gets the error. That is `.closed`, `.overloaded` if the
    /// loop accepts no more, or `.unsupported` if it is no connected stream. `failed` runs on that
    /// loop, or on the calling thread if the loop did not accept the call.
    public func adopt(
        _ descriptor: CInt, failed: @escaping @Sendable (NetError) -> Void = { _ in }
    ) {
        let refusal = onNextLoop { $0.adopt(descriptor, failed) }
        if let refusal {
            Glibc.close(descriptor)
            failed(refusal)
        }
    }

    /// Connects and returns the handle once the connection is open. Throws the errors of the method
    /// with `done`. Cancelling the task throws `CancellationError` at once. The attempts are then
    /// abandoned, the answer of a lookup is dropped, and a connection that was made in the same
    /// moment is closed.
    public func connect(
        to address: Address, timeout: Duration = .seconds(10)
    ) async throws -> ConnectionHandle {
        let answer = Answer<ConnectionHandle>()
        let name = ConnectName()
        return try await answer.wait {
            name.giveUp()
        } _: {
            let refusal = onNextLoop { loop in
                guard !answer.isCancelled else { return }
                Loop(core: loop).connect(to: address, for: timeout, as: name) { result in
                    let isWanted = answer.resume(result.map(\.handle).mapError { $0 })
                    if case .success(let connection) = result, !isWanted { connection.close() }
                }
            }
            if let refusal { answer.resume(.failure(refusal)) }
        }
    }

    /// Runs `body` on the next loop in turn, or returns the reason for which it cannot.
    private func onNextLoop(_ body: @escaping @Sendable (LoopCore) -> Void) -> NetError? {
        let remotes = core.group?.servingRemotes ?? []
        guard !remotes.isEmpty else { return .closed }
        let remote = remotes[turn.add(1, ordering: .relaxed).oldValue % remotes.count]
        return switch remote.post(.run(body)) {
        case .accepted: nil
        case .full: .overloaded(loop: remote.index, capacity: remote.mailbox.capacity)
        case .closed: .closed
        }
    }
}

extension LoopCore {
    fileprivate func adopt(_ descriptor: CInt, _ failed: (NetError) -> Void) {
        do throws(SystemError) {
            try adopt(Descriptor(descriptor))
        } catch {
            // A number that is not open may be another file's by now.
            if error.number != EBADF { Glibc.close(descriptor) }
            failed(NetError(adopting: descriptor, error))
        }
    }
}

extension Loop {
    /// Serves a stream that was connected elsewhere, like `Client.adopt`, on this loop of a server
    /// or a client. `onOpen` and `failed` run later on this loop, never inside this call unless the
    /// loop has ended.
    public func adopt(
        _ descriptor: CInt, failed: @escaping (NetError) -> Void = { _ in }
    ) {
        core.postpone { [core] in core.adopt(descriptor, failed) }
    }

    /// Connects without blocking. The new connection lives on this loop, and its events go to the
    /// same handler. `done` runs once, before its `onOpen`, and never inside this call unless the
    /// loop has ended. An error that `done` throws closes the new connection, if there is one.
    /// Failures, and the treatment of names, are those of `Client.connect`. A resolver of the
    /// program is called inside this call.
    public func connect(
        to address: Address, timeout: Duration = .seconds(10),
        _ done: @escaping (Result<Connection, NetError>) throws -> Void
    ) {
        connect(to: address, for: timeout, as: nil, done)
    }

    /// Connects like the public method, with a name by which the attempt can be abandoned.
    fileprivate func connect(
        to address: Address, for timeout: Duration, as name: ConnectName?,
        _ done: @escaping (Result<Connection, NetError>) throws -> Void
    ) {
        guard address.isValid else {
            return core.postpone { try? done(.failure(.invalidAddress(address.description))) }
        }
        guard !address.isProxied else {
            return core.postpone { try? done(.failure(.proxyHeaderToSend(address))) }
        }
        guard !address.isSecured || core.configuration.connectingFilters != nil else {
            return core.postpone {
                try? done(.failure(.lacksProvider(address, "tlsClient")))
            }
        }
        guard let target = address.socketAddress else {
            return connect(byName: address, for: timeout, as: name, done)
        }
        let peer =
            address.isSecured ? FilterPeer(name: address.verifiedName, address: target) : nil
        core.connect(
            to: target, isDatagram: address.isDatagram, timeout: Nanoseconds(timeout), as: name,
            securedTo: peer
        ) { result in
            try done(
                result.map { Connection($0) }.mapError { NetError(connectingTo: address, $0) })
        }
    }

    private func connect(
        byName address: Address, for timeout: Duration, as name: ConnectName?,
        _ done: @escaping (Result<Connection, NetError>) throws -> Void
    ) {
        guard let host = address.hostName, host.port != 0 else {
            let error = NetError(connectingTo: address, SystemError(EADDRNOTAVAIL, "connect"))
            return core.postpone { try? done(.failure(error)) }
        }
        let target = NamedTarget(
            host: host.text, family: host.family, port: host.port,
            isDatagram: address.isDatagram,
            securedName: address.isSecured ? address.verifiedName : nil)
        core.connect(to: target, timeout: Nanoseconds(timeout), as: name) { result in
            try done(
                result.map { Connection($0) }.mapError { NetError(connectingTo: address, $0) })
        }
    }
}

extension Connection {
    /// Connects on this loop without blocking. The new connection has the same handler. `then` runs
    /// with this connection and the new one, before the new one's `onOpen`. A failure, or an error
    /// of `then`, closes this connection with that error. Until then this connection is not read:
    /// its bytes and its end of stream wait. If it has closed meanwhile, the new one is closed and
    /// `then` does not run.
    public func connect(
        to address: Address, timeout: Duration = .seconds(10),
        then: @escaping (Connection, Connection) throws -> Void
    ) {
        _ = withCore { $0.holdForConnect(record) }
        loop.connect(to: address, timeout: timeout) { result in
            defer { _ = withCore { $0.otherCame(record) } }
            do {
                let other = try result.get()
                guard isOpen else { return other.close() }
                try then(self, other)
            } catch {
                _ = withCore { $0.close(record, .handlerError(error)) }
                if case .success(let other) = result { other.close() }
            }
        }
    }
}
