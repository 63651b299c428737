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
    /// calling thread with `.closed` if the client does not run, or with `.overloaded` if that loop
    /// takes no more. `udp://` connects a datagram socket: `onTraffic` once per datagram, each
    /// flush of what was written a datagram; a broadcast address needs nothing more.
    public func connect(
        to address: Address, timeout: Duration = .seconds(10),
        _ done: @escaping @Sendable (Result<Connection, NetError>) -> Void
    ) {
        let refusal = onNextLoop { loop in
            Loop(core: loop).connect(to: address, timeout: timeout) { done($0) }
        }
        if let refusal { done(.failure(refusal)) }
    }

    /// Serves a stream that was connected elsewhere, a socket pair's end for example, which the
    /// client owns from now on. `onOpen` runs on one of its loops. `failed` is told `.closed`,
    /// `.overloaded` if that loop takes no more, or, if it is no connected stream, `.unsupported`;
    /// then the descriptor is closed.
    public func adopt(
        _ descriptor: CInt, failed: @escaping @Sendable (NetError) -> Void = { _ in }
    ) {
        let refusal = onNextLoop { loop in
            do throws(SystemError) {
                try loop.adopt(Descriptor(descriptor))
            } catch {
                Glibc.close(descriptor)
                failed(NetError(adopting: descriptor, error))
            }
        }
        if let refusal {
            Glibc.close(descriptor)
            failed(refusal)
        }
    }

    /// Returns the handle once the connection is open. Throws a `NetError` as above. Cancelling the
    /// task throws `CancellationError` at once: the attempt is given up, and a connection that was
    /// made in the same moment is closed.
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

    /// Runs `body` on the loop whose turn it is, or says why not.
    private func onNextLoop(_ body: @escaping @Sendable (EventLoop.Loop) -> Void) -> NetError? {
        let ports = core.group?.servingPorts ?? []
        guard !ports.isEmpty else { return .closed }
        let port = ports[turn.add(1, ordering: .relaxed).oldValue % ports.count]
        return switch port.post(.run(body)) {
        case .accepted: nil
        case .full: .overloaded(loop: port.index, capacity: port.mailbox.capacity)
        case .closed: .closed
        }
    }
}

extension Loop {
    /// Connects without blocking; the new connection lives on this loop and its events go to the
    /// same handler. `done` runs before its `onOpen`, once, and never inside this call unless the
    /// loop has ended. An error that it throws closes the new connection, if there is one. Failures
    /// are `.timedOut`, `.invalidAddress`, or `.system` with the kernel's error.
    public func connect(
        to address: Address, timeout: Duration = .seconds(10),
        _ done: @escaping (Result<Connection, NetError>) throws -> Void
    ) {
        connect(to: address, for: timeout, as: nil, done)
    }

    /// As above, with a name for who gives it up.
    fileprivate func connect(
        to address: Address, for timeout: Duration, as name: ConnectName?,
        _ done: @escaping (Result<Connection, NetError>) throws -> Void
    ) {
        guard let target = address.socketAddress else {
            return core.refuse { try? done(.failure(.invalidAddress(address.description))) }
        }
        core.connect(
            to: target, isDatagram: address.isDatagram, timeout: Nanoseconds(timeout), as: name
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
