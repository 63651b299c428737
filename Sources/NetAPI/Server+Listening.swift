internal import Glibc
internal import MillraceEventLoop

/// An address that a server listens on.
struct Listening: Sendable {
    /// Its number in the group.
    let place: Int
    let wanted: Address
    /// With the port that the kernel has chosen.
    let real: Address
    /// The places of its sockets for datagrams, each by its loop and its index there.
    let datagramSockets: [(loop: Int, index: Int)]

    init(
        place: Int, wanted: Address, at real: SocketAddress,
        datagramSockets: [(loop: Int, index: Int)] = []
    ) {
        self.datagramSockets = datagramSockets
        self.place = place
        self.wanted = wanted
        self.real = Address(real, isDatagram: wanted.isDatagram, layers: wanted.layers)
    }

    func isNamed(_ address: Address) -> Bool { wanted == address || real == address }

    func isAtSocket(of address: Address) -> Bool {
        wanted.isSameSocket(as: address) || real.isSameSocket(as: address)
    }
}

/// Addresses that a server begins and ends to listen on while it runs.
extension Server {
    /// Listens on one more address, and returns it with its real port. Clients can connect once
    /// this has returned. The handler and the options are those of the server. A descriptor that is
    /// given as `.inherited` is the server's from this call on: an error closes it, unless the
    /// server listens on it already.
    ///
    /// Callable from any thread, from `onBoot` on. A host that is a name is looked up, which blocks
    /// for up to `Options.Names.startTimeout`, so a loop cannot do that. A Unix path waits up to a
    /// second for the lock of its directory, if another program holds that.
    ///
    /// Throws the errors of `init` and `start` for this address. Throws `.closed` once the server
    /// stops, `.unsupported` before the start, for `udp://`, and for a name on a loop, and
    /// `.overloaded` for an address beyond 65,536 at once.
    @discardableResult
    public func listen(on address: Address) throws(NetError) -> Address {
        if address.needsLookup && LoopCore.isOnLoopThread {
            throw NetError(
                .unsupported, "\(address): a lookup of the name would block the loop",
                "await listen(on:), or call it on another thread")
        }
        return try bind(address)
    }

    /// Listens like the blocking `listen(on:)`, but suspends the task for a name or a Unix path and
    /// blocks no thread of the pool.
    @discardableResult
    public func listen(on address: Address) async throws(NetError) -> Address {
        // A path may wait for its directory's lock. A simulated network has one thread.
        guard address.needsLookup || address.isPath, group?.isStepped != true else {
            return try bind(address)
        }
        let result = await onOwnThread("millrace-listen") { [self] () throws(NetError) in
            try bind(address)
        }
        return try result.get()
    }

    private func bind(_ address: Address) throws(NetError) -> Address {
        let (group, wanted): (LoopGroup, ListenAddress)
        do throws(NetError) {
            (group, wanted) = try addressToBind(address)
        } catch {
            if let descriptor = address.inherited.map({ Descriptor($0) }) {
                if let known = self.group {
                    known.discardUnused(descriptor)
                } else if !listenAddresses.contains(where: { $0.inherited == address.inherited }) {
                    chosen.sockets.discard(descriptor)
                }
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
            throw error.number == ECANCELED ? .hasStopped : bindError(address, wanted, error)
        }
    }

    /// Checks a server's first addresses for what each alone does not show.
    func checkTogether(_ addresses: [Address]) throws(NetError) {
        guard addresses.count <= Int(UInt16.max) else {
            throw .invalidOption(
                "the list of addresses", "of \(addresses.count)", "give at most \(UInt16.max)")
        }
        // With `reusePort` the kernel would not refuse the second.
        for (place, address) in addresses.enumerated() where options.reusePort {
            if addresses[..<place].contains(where: { $0.isSameSocket(as: address) }) {
                throw NetError(listeningOn: address, SystemError(EADDRINUSE, "bind"))
            }
        }
    }

    private func addressToBind(
        _ address: Address
    ) throws(NetError) -> (LoopGroup, ListenAddress) {
        guard address.isValid else { throw .invalidAddress(address.description) }
        let group = try runningGroup()
        if address.isDatagram || isClient {
            throw NetError(
                .unsupported, "\(address) cannot be added while the server runs",
                isClient ? "make a Server for it" : "give it when the server is made")
        }
        try check(address)
        // With `reusePort` the kernel would not refuse it.
        if listening.contains(where: { $0.isAtSocket(of: address) }) {
            throw NetError(listeningOn: address, SystemError(EADDRINUSE, "bind"))
        }
        let lookups = ListenLookups()
        furtherLookups.withLock { $0[ObjectIdentifier(lookups)] = lookups }
        defer { furtherLookups.withLock { $0[ObjectIdentifier(lookups)] = nil } }
        // A stop before this line has not seen the lookup.
        guard group.stopCause == nil else { throw .hasStopped }
        guard let wanted = try toBind([address], lookups).first else {
            throw .invalidAddress(address.description)
        }
        return (group, wanted)
    }

    /// Ends the lookups of addresses that were to be added. After the group knows of the stop: a
    /// lookup that begins later sees that.
    func giveUpFurtherLookups() {
        for lookups in furtherLookups.withLock({ $0.values }) { lookups.giveUp() }
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
    /// until the server has closed it: then its port or path is free. Clients in its backlog are
    /// served first, for at most a second and even above `Options.Limits.connections`. An address
    /// that several sockets have, such as inherited ones, names all of them. Open connections stay.
    /// A server without an address goes on.
    ///
    /// Callable from any thread, from `onBoot` on. On a thread of a loop it does not wait. Throws
    /// `.invalidAddress` for another address and after an earlier call. Throws `.closed` once the
    /// server stops, and `.unsupported` before the start.
    public func stopListening(on address: Address) throws(NetError) {
        let (group, places) = try takeListening(address)
        let isClosed = Monitor(false)
        group.stopListening(places) { isClosed.update { $0 = true } }
        if LoopCore.isOnLoopThread || group.isStepped { return }
        isClosed.wait { $0 ? () : nil }
    }

    /// Stops listening like the blocking `stopListening(on:)`, but suspends the task and blocks no
    /// thread of the pool.
    public func stopListening(on address: Address) async throws(NetError) {
        let (group, places) = try takeListening(address)
        // The test that would wait for a simulation is the one that steps it.
        guard !group.isStepped else { return group.stopListening(places) {} }
        await withCheckedContinuation { continuation in
            group.stopListening(places) { continuation.resume() }
        }
    }

    /// Takes an address out of the list, for the one caller that closes it.
    private func takeListening(_ address: Address) throws(NetError) -> (LoopGroup, [Int]) {
        let group = try runningGroup()
        var known: [Listening] = []
        let places = state.withLock { state -> [Int] in
            guard case .started(let group, let list) = state else { return [] }
            known = list
            state = .started(group, list.filter { !$0.isNamed(address) })
            return list.filter { $0.isNamed(address) }.map(\.place)
        }
        guard !places.isEmpty else { throw .notListening(on: address, known) }
        return (group, places)
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
