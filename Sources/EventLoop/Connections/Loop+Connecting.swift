import Glibc

/// Outgoing connects: without blocking, until the kernel reports the result or the deadline passes.

/// The state of a connect until its connection is open.
final class ConnectAttempt {
    let address: UnsafeMutableRawBufferPointer
    let deadline: Nanoseconds
    /// The number of earlier sockets that have connected to themselves.
    let selfConnects: Int
    /// The name by which a caller can cancel the connect.
    let name: ConnectName?
    /// The peer to secure the connection to; nil: the connection has no filter.
    let peer: FilterPeer?
    /// The place in the race of a connect by name.
    let entry: RaceEntry?
    let done: ConnectResult

    init(
        _ address: UnsafeMutableRawBufferPointer, deadline: Nanoseconds, selfConnects: Int,
        name: ConnectName?, peer: FilterPeer?, entry: RaceEntry?, done: @escaping ConnectResult
    ) {
        self.peer = peer
        self.entry = entry
        self.address = address
        self.deadline = deadline
        self.selfConnects = selfConnects
        self.name = name
        self.done = done
    }

    deinit { address.deallocate() }

    /// The caller has cancelled the connect. The posted cancel may not have been handled yet.
    var isGivenUp: Bool { (name ?? entry?.connect.name)?.isGivenUp == true }
}

/// The name of a connect that a caller may cancel, through all sockets that it tries.
package final class ConnectName: Sendable {
    enum Place {
        /// The socket in use at the moment.
        case socket(Token)
        /// The number of a connect by name.
        case race(UInt64)
    }

    private struct State {
        var isGivenUp = false
        var place: (remote: LoopRemote, place: Place)?
    }

    private let state = Monitor(State())

    package init() {}

    /// Cancels the connect, from any thread: no connection results from it.
    package func giveUp() {
        let remote = state.withLock { state in
            state.isGivenUp = true
            return state.place?.remote
        }
        _ = remote?.post(.run { $0.giveUpConnecting(self) }, always: true)
    }

    package var isGivenUp: Bool { state.withLock { $0.isGivenUp } }

    fileprivate var place: Place? { state.withLock { $0.place?.place } }

    func isAt(_ place: Place, of remote: LoopRemote) {
        state.withLock { $0.place = (remote, place) }
    }
}

/// Called once, with the open connection or with the error.
package typealias ConnectResult = (Result<ConnectionReference, any Error>) throws -> Void

extension Loop {
    /// The time between attempts of a Unix connect. With a full backlog it returns EAGAIN and
    /// leaves no event to wait for.
    private static var retryTime: Nanoseconds { 5_000_000 }

    /// Connects. `done` runs before `onOpen` of the new connection, and never inside this call.
    package func connect(
        to address: SocketAddress, isDatagram: Bool, timeout: Nanoseconds,
        as name: ConnectName? = nil, securedTo peer: FilterPeer? = nil,
        _ done: @escaping ConnectResult
    ) {
        connect(
            to: address, isDatagram: isDatagram, deadline: driver.clock + max(0, timeout),
            as: name, securedTo: peer, done)
    }

    /// Connects like the above, until an absolute time. `entry` is the place in a race.
    func connect(
        to address: SocketAddress, isDatagram: Bool, deadline: Nanoseconds,
        selfConnects: Int = 0, as name: ConnectName?, securedTo peer: FilterPeer?,
        in entry: RaceEntry? = nil, _ done: @escaping ConnectResult
    ) {
        do throws(SystemError) {
            // The kernel accepts port 0 for a datagram socket, which then is connected to no peer.
            guard address.port != 0 else { throw SystemError(EADDRNOTAVAIL, "connect") }
            let attempt = ConnectAttempt(
                try address.kernelCopy(), deadline: deadline, selfConnects: selfConnects,
                name: name, peer: peer, entry: entry, done: done)
            try startConnecting(address, isDatagram, attempt)
        } catch {
            let failure = error
            postpone { try? done(.failure(failure)) }
        }
    }

    /// Abandons a connect that its caller has cancelled.
    func giveUpConnecting(_ name: ConnectName) {
        let error = SystemError(ECANCELED, "connect")
        switch name.place {
        case .socket(let token):
            guard let connection = table.find(token), isConnecting(connection) else { return }
            abandonConnect(connection, error)
        case .race(let id): cancelNamedConnect(id, error)
        case nil: break
        }
    }

    /// Runs a closure soon, but not inside this call: a connect's failure, or `onOpen` of a stream
    /// that a handler adopts.
    package func postpone(_ body: @escaping () -> Void) {
        postponed.append(body)
        // A loop that has ended runs no further turn.
        if hasEnded && !isTellingLast { runLastPostponed() }
    }

    /// Runs the closures queued now. Those that they queue wait for the next round.
    func runPostponed() {
        let due = postponed
        postponed = []
        for body in due { runClosure(for: nil) { _ in body() } }
    }

    /// Runs the closures without a next round. Bounded, since one may connect again after each
    /// failure.
    func runLastPostponed() {
        isTellingLast = true
        defer { isTellingLast = false }
        var rounds = 0
        while !postponed.isEmpty && rounds < 100 {
            rounds += 1
            runPostponed()
        }
        postponed = []
    }

    private func startConnecting(
        _ address: SocketAddress, _ isDatagram: Bool, _ attempt: ConnectAttempt
    ) throws(SystemError) {
        guard mayConnect else { throw SystemError(ECANCELED, "connect") }
        let descriptor = try sockets.makeSocket(
            for: address, isDatagram: isDatagram, receiveOffload: configuration.receiveOffload)
        guard let connection = table.allocate() else {
            sockets.discard(descriptor)
            owner.report(.slotsExhausted(loop: index))
            throw SystemError(ENOBUFS, "connect")
        }
        let details = ConnectionDetails(isAccepted: false, remoteAddress: address)
        details.attempt = attempt
        connection.details = Unmanaged.passRetained(details)
        connection.descriptor = descriptor
        connection.state = .connecting
        connection.flags.insert(.readsAhead)
        if isDatagram { connection.flags.insert(.datagrams) }
        owner.connectionAdded()
        counters.opened.add()
        driver.attach(descriptor, as: connection.token)
        armTimer(connection)
        submitConnect(connection)
        if let entry = attempt.entry { entry.connect.sockets[entry.attempt] = connection.token }
        guard let name = attempt.name else { return }
        name.isAt(.socket(connection.token), of: remote)
        // A cancel before `isAt` found no port to post to.
        if name.isGivenUp { postpone { self.giveUpConnecting(name) } }
    }

    /// Makes a connection of a stream that was connected elsewhere. On an error the descriptor
    /// stays the caller's.
    package func adopt(_ descriptor: Descriptor) throws(SystemError) {
        guard mayConnect else { throw SystemError(ECANCELED, "adopt") }
        try sockets.adoptStream(descriptor)
        guard let connection = table.allocate() else {
            owner.report(.slotsExhausted(loop: index))
            throw SystemError(ENOBUFS, "adopt")
        }
        owner.connectionAdded()
        let peer = try? sockets.remoteAddress(of: descriptor)
        open(connection, AcceptedStream(descriptor: descriptor, peer: peer), listener: nil)
    }

    /// Pauses a connection until the one that it has requested is open: its bytes and its end wait.
    package func holdForConnect(_ connection: ConnectionReference) {
        guard connection.state == .open else { return }
        connection.pauses.insert(.connect)
        connection.details?.takeUnretainedValue().extras.pendingConnects += 1
        updateReading(connection)
    }

    package func otherCame(_ connection: ConnectionReference) {
        guard connection.pauses.contains(.connect),
            let details = connection.details?.takeUnretainedValue()
        else { return }
        details.extras.pendingConnects -= 1
        guard details.extras.pendingConnects == 0 else { return }
        connection.pauses.remove(.connect)
        updateReading(connection)
        enqueue(connection)
    }

    private func submitConnect(_ connection: ConnectionReference) {
        guard let name = connection.details?.takeUnretainedValue().attempt?.address,
            let start = name.baseAddress
        else { return }
        driver.submit(
            .connect(UnsafeRawPointer(start), length: UInt32(name.count)),
            for: connection.token)
    }

    func connected(_ connection: ConnectionReference) {
        guard connection.state == .connecting,
            let details = connection.details?.takeUnretainedValue()
        else { return }
        // A kernel may report success of a connect that had not even begun (a full backlog).
        guard let remote = try? sockets.remoteAddress(of: connection.descriptor) else {
            return connectFailed(connection, SystemError(goneAtOnce(details), "connect"))
        }
        if case .unix(let path, _) = remote, path.isEmpty {
        } else {
            details.remoteAddress = remote
        }
        guard let attempt = details.attempt else { return }
        if isSelfConnected(connection, remote) { return metItself(connection, remote, attempt) }
        if attempt.isGivenUp {
            let error = SystemError(ECANCELED, "connect")
            // A race would begin its next attempt after the failure of this one.
            if let entry = attempt.entry { return cancelNamedConnect(entry.connect.id, error) }
            return abandonConnect(connection, error)
        }
        if let entry = attempt.entry { connected(entry) }
        if !connection.flags.contains(.datagrams) {
            sockets.prepare(connection.descriptor, configuration.stream)
        }
        if let peer = attempt.peer, let filters = configuration.connectingFilters {
            return secureConnected(connection, to: peer, by: filters)
        }
        details.attempt = nil
        opened(connection, by: attempt)
    }

    /// Whether the connection is the unfinished result of a connect.
    func isConnecting(_ connection: ConnectionReference) -> Bool {
        (connection.state == .connecting || connection.state == .securing)
            && connection.details?.takeUnretainedValue().attempt != nil
    }

    /// Reports the connection to the caller of the connect, then to the handler.
    func opened(_ connection: ConnectionReference, by attempt: ConnectAttempt) {
        connection.state = .open
        connection.lastProgress = now
        armTimer(connection)
        callback(connection) { delegate in
            try attempt.done(.success(connection))
            // Closed by the caller of the connect: the handler gets no callback.
            guard connection.state == .open else { return .none }
            connection.flags.insert(.opened)
            return try delegate.opened(connection)
        }
        updateReading(connection)
    }

    /// The errno of a socket that lost its peer at once. An IP socket was connected, then reset.
    private func goneAtOnce(_ details: ConnectionDetails) -> Int32 {
        if case .unix = details.remoteAddress { EAGAIN } else { ECONNRESET }
    }

    /// Whether a socket is connected to itself. Two sockets that connect to each other form a
    /// connection. So does one to which the kernel assigns the port that it connects to, without a
    /// listener there.
    private func isSelfConnected(
        _ connection: ConnectionReference, _ remote: SocketAddress
    ) -> Bool {
        guard remote.port != nil, !connection.flags.contains(.datagrams) else {
            return false
        }
        let local = try? sockets.localAddress(of: connection.descriptor)
        return local == remote
    }

    private static var mostSelfConnects: Int { 2 }

    /// Connects again with another socket, which the kernel assigns another port.
    private func metItself(
        _ connection: ConnectionReference, _ remote: SocketAddress, _ attempt: ConnectAttempt
    ) {
        // With a reset, so that no remaining TCP state keeps the port in use.
        sockets.resetOnClose(connection.descriptor)
        guard attempt.selfConnects < Self.mostSelfConnects, !attempt.isGivenUp else {
            return abandonConnect(connection, SystemError(ECONNREFUSED, "connect"))
        }
        connection.details?.takeUnretainedValue().attempt = nil
        connection.state = .closing
        timers.cancel(connection.timer)
        counters.closed.add()
        driver.submit(.close, for: connection.token)
        connect(
            to: remote, isDatagram: false, deadline: attempt.deadline,
            selfConnects: attempt.selfConnects + 1, as: attempt.name, securedTo: attempt.peer,
            in: attempt.entry, attempt.done)
    }

    func connectFailed(_ connection: ConnectionReference, _ error: SystemError) {
        guard connection.state == .connecting,
            let attempt = connection.details?.takeUnretainedValue().attempt
        else { return }
        guard error.number == EAGAIN else { return abandonConnect(connection, error) }
        // The deadline, which has a timer of its own, is the end of the attempts.
        let time = now + Self.retryTime
        if time < attempt.deadline { timers.schedule(at: time, .connectAgain(connection.token)) }
    }

    func connectAgain(_ connection: ConnectionReference) {
        if connection.state == .connecting { submitConnect(connection) }
    }

    /// Reports the failure to the caller and closes the descriptor. Without `onOpen` there is no
    /// `onClose`.
    func abandonConnect(_ connection: ConnectionReference, _ error: SystemError) {
        guard let details = connection.details?.takeUnretainedValue(),
            let attempt = details.attempt
        else { return }
        connection.state = .closing
        timers.cancel(connection.timer)
        counters.closed.add()
        if let state = details.filter { handshakeEnded(state) }
        // An error of the closure has no connection to close.
        runClosure(for: nil) { _ in try? attempt.done(.failure(error)) }
        driver.submit(.close, for: connection.token)
    }
}

extension SocketAddress {
    /// Copies the kernel's form of the address into newly allocated memory.
    package func kernelCopy() throws(SystemError) -> UnsafeMutableRawBufferPointer {
        try withKernelForm { name, length in
            let copy = UnsafeMutableRawBufferPointer.allocate(
                byteCount: Int(length), alignment: 16)
            copy.copyMemory(from: UnsafeRawBufferPointer(start: name, count: Int(length)))
            return copy
        }
    }
}
