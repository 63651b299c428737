internal import Glibc
internal import MillraceEventLoop

/// An address that a server listens on.
struct Listening: Sendable {
    /// Its number in the group.
    let place: Int
    let wanted: Address
    /// With the port that the kernel has chosen.
    let real: Address

    init(place: Int, wanted: Address, at real: SocketAddress) {
        self.place = place
        self.wanted = wanted
        self.real = Address(real, isDatagram: wanted.isDatagram, isSecured: wanted.isSecured)
    }

    func isNamed(_ address: Address) -> Bool { wanted == address || real == address }
}

/// Addresses that a server begins and ends to listen on while it runs.
extension Server {
    /// Listens on one more address, and returns it with its real port. Clients can connect once
    /// this has returned. The handler and the options are those of the server. A descriptor that is
    /// given as `.inherited` is the server's from this call on: an error closes it.
    ///
    /// Callable from any thread, from `onBoot` on. A host that is a name is looked up, which blocks
    /// for up to `Options.Names.startTimeout`, so a loop cannot do that.
    ///
    /// Throws the errors of `init` and `start` for this address. Throws `.closed` once the server
    /// stops, and `.unsupported` before the start, for `udp://`, and for a name on a loop.
    @discardableResult
    public func listen(on address: Address) throws(NetError) -> Address {
        let (group, wanted): (LoopGroup, ListenAddress)
        do throws(NetError) {
            (group, wanted) = try addressToBind(address)
        } catch {
            if let descriptor = address.inherited {
                chosen.sockets.discard(Descriptor(descriptor))
            }
            throw error
        }
        do throws(SystemError) {
            let (place, real) = try group.listen(alsoOn: wanted)
            let added = Listening(place: place, wanted: address, at: real)
            state.withLock { state in
                guard case .started(let group, let others) = state else { return }
                state = .started(group, others + [added])
            }
            return added.real
        } catch {
            throw error.number == ECANCELED ? .hasFailed : bindError(address, wanted, error)
        }
    }

    private func addressToBind(
        _ address: Address
    ) throws(NetError) -> (LoopGroup, ListenAddress) {
        try check(address)
        let group = try runningGroup()
        if address.isDatagram {
            throw NetError(
                .unsupported, "\(address) cannot be added while the server runs",
                "give it when the server is made")
        }
        if address.needsLookup && LoopCore.isOnLoopThread {
            throw NetError(
                .unsupported, "\(address): a lookup of the name would block the loop",
                "call this on another thread")
        }
        guard let wanted = try toBind([address], ListenLookups()).first else {
            throw .invalidAddress(address.description)
        }
        // The lookup may have taken long.
        guard group.stopCause == nil else { throw .hasStopped }
        return (group, wanted)
    }

    private func runningGroup() throws(NetError) -> LoopGroup {
        guard let group else {
            guard state.withLock({ $0.isReady }) else { throw .hasStopped }
            throw NetError(
                .unsupported, "the server has not started yet", "call start() first")
        }
        guard group.stopCause == nil else { throw .hasStopped }
        return group
    }

    /// Stops listening on an address, given as in the list or as in `boundAddresses`, and waits
    /// until it is closed: then another server can listen on it. Clients in its backlog are served
    /// first, for at most a second; a backlog that was handed out is left to the other server. Open
    /// connections stay. A server without an address goes on.
    ///
    /// Callable from any thread, from `onBoot` on. On a thread of a loop it does not wait. Throws
    /// `.invalidAddress` for another address and after an earlier call. Throws `.closed` once the
    /// server stops, and `.unsupported` before the start.
    public func stopListening(on address: Address) throws(NetError) {
        let (group, place) = try takeListening(address)
        let isClosed = Monitor(false)
        group.stopListening(place) { isClosed.update { $0 = true } }
        if LoopCore.isOnLoopThread || group.isStepped { return }
        isClosed.wait { $0 ? () : nil }
    }

    /// Stops listening like the blocking `stopListening(on:)`, but suspends the task and blocks no
    /// thread of the pool.
    public func stopListening(on address: Address) async throws(NetError) {
        let (group, place) = try takeListening(address)
        await withCheckedContinuation { continuation in
            group.stopListening(place) { continuation.resume() }
        }
    }

    /// Takes an address out of the list, for the one caller that closes it.
    private func takeListening(_ address: Address) throws(NetError) -> (LoopGroup, Int) {
        let group = try runningGroup()
        var known: [Listening] = []
        let taken = state.withLock { state -> Listening? in
            guard case .started(let group, let list) = state else { return nil }
            known = list
            guard let index = list.firstIndex(where: { $0.isNamed(address) }) else { return nil }
            state = .started(group, Array(list[..<index] + list[(index + 1)...]))
            return list[index]
        }
        guard let taken else { throw .notListening(on: address, known) }
        return (group, taken.place)
    }
}

extension NetError {
    static func notListening(on address: Address, _ known: [Listening]) -> NetError {
        let list = known.map(\.real.description).joined(separator: ", ")
        return NetError(
            .invalidAddress, "this server does not listen on \(address)",
            list.isEmpty ? "it listens on no address now" : "give one of \(list)")
    }
}
