internal import EventLoop
internal import Glibc
internal import Synchronization

/// Connects out, with the same handlers and options as a server.
///
/// All its methods may be called from any thread. Its connections live on its own loops, of which
/// it takes one after the other.
public final class Client: Sendable {
    private let core: Server
    private let turn = Atomic(0)

    /// One handler shared by all loops. Throws `.invalidOption`, `.backendUnavailable`.
    public init(
        _ handler: some EventHandler & Sendable, options: Options = Options()
    ) throws(NetError) {
        core = try Server([], options, isClient: true) { loop in (handler, loop == 0) }
    }

    /// Starts the loops. Throws as `Server.start`.
    public func start() throws(NetError) { try core.start() }

    /// Closes every connection gracefully and waits. Not from a loop.
    public func stop(within limit: Duration = .seconds(10)) { core.stop(within: limit) }

    /// The same without blocking a thread of the pool.
    public func stop(within limit: Duration = .seconds(10)) async {
        await core.stop(within: limit)
    }

    /// Connections alive or on their way.
    public var connectionCount: Int { core.connectionCount }
    /// Counters of each loop, summed when read.
    public var statistics: Statistics { core.statistics }
    /// What runs.
    public var backend: (chosen: Backend, reason: String?) { core.backend }

    /// Connects without blocking. `done` runs on the new connection's loop before its `onOpen`, or
    /// there with `.timedOut`, `.system` and the kernel's error, or `.invalidAddress`; on the
    /// calling thread with `.closed` if the client does not run. `udp://` connects a datagram
    /// socket: `onTraffic` once per datagram, each flush of what was written a datagram; a
    /// broadcast address needs nothing more.
    public func connect(
        to address: Address, timeout: Duration = .seconds(10),
        _ done: @escaping @Sendable (Result<Connection, NetError>) -> Void
    ) {
        let ports = core.group?.servingPorts ?? []
        guard !ports.isEmpty else { return done(.failure(.closed)) }
        let place = turn.add(1, ordering: .relaxed).oldValue % ports.count
        let isTaken = ports[place].run { loop in
            Loop(core: loop).connect(to: address, timeout: timeout) { done($0) }
        }
        if !isTaken { done(.failure(.closed)) }
    }

    /// Serves a stream that was connected elsewhere, a socket pair's end for example, which the
    /// client owns from now on. `onOpen` runs on one of its loops. `failed` is told `.closed`, or
    /// `.unsupported` if it is no connected stream; then the descriptor is closed.
    public func adopt(
        _ descriptor: CInt, failed: @escaping @Sendable (NetError) -> Void = { _ in }
    ) {
        let ports = core.group?.servingPorts ?? []
        let place = turn.add(1, ordering: .relaxed).oldValue % max(1, ports.count)
        let isTaken =
            !ports.isEmpty
            && ports[place].run { loop in
                do throws(SystemError) {
                    try loop.adopt(Descriptor(descriptor))
                } catch {
                    Glibc.close(descriptor)
                    failed(
                        NetError(
                            .unsupported, "descriptor \(descriptor): \(error.message)",
                            "give a connected stream socket", errno: error.number))
                }
            }
        if !isTaken {
            Glibc.close(descriptor)
            failed(.closed)
        }
    }

    /// Returns the handle once the connection is open. Throws as above.
    public func connect(
        to address: Address, timeout: Duration = .seconds(10)
    ) async throws(NetError) -> ConnectionHandle {
        let result: Result<ConnectionHandle, NetError> = await withCheckedContinuation { waiting in
            connect(to: address, timeout: timeout) { result in
                waiting.resume(returning: result.map(\.handle))
            }
        }
        return try result.get()
    }
}

extension Loop {
    /// Connects without blocking; the new connection lives on this loop and its events go to the
    /// same handler. `done` runs before its `onOpen`; an error that it throws closes the new
    /// connection. Failures are `.timedOut`, `.invalidAddress`, or `.system` with the kernel's
    /// error.
    public func connect(
        to address: Address, timeout: Duration = .seconds(10),
        _ done: @escaping (Result<Connection, NetError>) throws -> Void
    ) {
        guard let target = address.socketAddress else {
            _ = core.schedule(after: 0) {
                try done(.failure(.invalidAddress(address.description)))
            }
            return
        }
        core.connect(
            to: target, isDatagram: address.isDatagram, timeout: Nanoseconds(timeout)
        ) { result in
            try done(
                result.map { Connection($0) }.mapError { NetError(connectingTo: address, $0) })
        }
    }
}

extension Connection {
    /// Connects on this loop without blocking; the new connection has the same handler, and `then`
    /// runs before its `onOpen`. A failure, or an error from `then`, closes this connection with
    /// that error. Until then this one is not read: its bytes and its end wait. If it has closed
    /// meanwhile, the new one is closed and `then` does not run.
    public func connect(
        to address: Address, timeout: Duration = .seconds(10),
        then: @escaping (Connection, Connection) throws -> Void
    ) {
        _ = withCore { $0.awaitOther(record) }
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

extension NetError {
    init(connectingTo address: Address, _ error: SystemError) {
        if error.number == ETIMEDOUT {
            self.init(
                .timedOut, "\(address) did not answer in time",
                "check that it is reachable, or allow more time", errno: error.number)
        } else {
            self.init(
                .system, "\(address): \(error.message) (\(error.name))", errno: error.number)
        }
    }
}
