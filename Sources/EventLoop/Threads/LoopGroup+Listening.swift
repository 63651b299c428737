import Glibc

/// Binding: the sockets of the addresses, for the loops that accept on them.
extension LoopGroup {
    private var hasAcceptor: Bool { loopCount > configuration.loops }

    private var noListeners: Listeners {
        Listeners(perLoop: Array(repeating: [], count: loopCount))
    }

    /// Binds every address, for each loop that accepts. An error leaves no address bound. Inherited
    /// descriptors belong to the group from here on, so an error closes them.
    package func listen(
        on addresses: [ListenAddress]
    ) throws(ListenFailure) -> Listeners {
        var listeners = noListeners
        var inherited = Set(addresses.compactMap(\.inherited))
        var place = 0
        do throws(SystemError) {
            inherited = try inheritedOnce(addresses, &place)
            for wanted in addresses.indices {
                place = wanted
                try listenOnFirst(of: addresses[wanted], beginPlace(), &listeners)
            }
            return listeners
        } catch {
            // A number that is not open may be another socket's by now.
            if error.number == EBADF, let wrong = addresses[place].inherited {
                inherited.remove(wrong)
            }
            giveUp(listeners, inherited)
            throw ListenFailure(address: place, error: error)
        }
    }

    /// Closes the bound sockets, and the inherited descriptors that are not among them.
    private func giveUp(_ listeners: Listeners, _ inherited: Set<Descriptor>) {
        let adopted = listeners.perLoop.joined().map(\.bound.descriptor)
        discard(listeners)
        for left in inherited.subtracting(adopted) { parts.sockets.discard(left) }
    }

    /// Begins an address and returns its number. Throws EOVERFLOW if there are too many, which no
    /// call of the kernel for sockets does.
    private func beginPlace() throws(SystemError) -> Int {
        guard let place = handedOut.withLock({ $0.begin() }) else {
            throw SystemError(EOVERFLOW, "listen")
        }
        return place
    }

    // MARK: While the loops run

    /// Binds one more address and has the loops accept on it. Returns its number and the real
    /// address. An inherited descriptor belongs to the group from here on. Throws ECANCELED if the
    /// group stops, and EOVERFLOW if it has too many addresses. From any thread.
    package func listen(
        alsoOn address: ListenAddress
    ) throws(SystemError) -> (place: Int, address: SocketAddress) {
        if let descriptor = address.inherited,
            !handedOut.withLock({ $0.reserve(descriptor) })
        {
            // Two owners of one descriptor would both close it.
            throw SystemError(EEXIST, "adopt")
        }
        defer {
            if let descriptor = address.inherited {
                // Its listener, if there is one, holds it now.
                handedOut.withLock { $0.release(descriptor) }
            }
        }
        var listeners = noListeners
        var place = -1
        var isRefused = false
        do throws(SystemError) {
            guard let remotes = everyRemote() else { throw SystemError(ECANCELED, "listen") }
            place = try beginPlace()
            try listenOnFirst(of: address, place, &listeners)
            for (remote, added) in zip(remotes, listeners.perLoop) {
                for (bound, spreads) in added {
                    let isTaken = remote.runFirst { $0.listen(bound, spreads: spreads) }
                    if !isTaken {
                        isRefused = true
                        discard(bound)
                    }
                }
            }
        } catch {
            // A number that is not open may be another socket's by now.
            let given = error.number == EBADF ? nil : address.inherited
            giveUp(listeners, Set([given].compactMap { $0 }))
            let begun = place
            handedOut.withLock { $0.giveUp(begun) }
            throw error
        }
        // Each loop closes it, or has closed it.
        guard !isRefused, stopCause == nil, state.withLock({ $0.bootError == nil }) else {
            throw SystemError(ECANCELED, "listen")
        }
        return (place, listeners.addresses[0])
    }

    /// Returns the remote ends of all loops, once each has one; nil if the start fails.
    private func everyRemote() -> [LoopRemote]? {
        state.wait { state -> [LoopRemote]?? in
            let known = state.remotes.compactMap { $0 }
            if known.count == loopCount { return .some(known) }
            return state.bootError == nil ? nil : .some(nil)
        }
    }

    /// Stops accepting on these addresses, at least one. `closed` runs once, when all their sockets
    /// are closed, on a thread of a loop, or on this one if they are. From any thread.
    package func stopListening(_ places: [Int], closed: @escaping @Sendable () -> Void) {
        let left = Monitor(places.count)
        for place in places {
            stopListening(place) {
                let isLast = left.withLock { left in
                    left -= 1
                    return left == 0
                }
                if isLast { closed() }
            }
        }
    }

    private func stopListening(_ place: Int, closed: @escaping @Sendable () -> Void) {
        let isOpen = handedOut.withLock { $0.end(place, closed) }
        guard isOpen else { return closed() }
        // Without them the start has failed, which closes every socket.
        for remote in everyRemote() ?? [] {
            // A loop that has ended has closed its listeners.
            _ = remote.runFirst { $0.stopListening(place) }
        }
    }

    // MARK: Sockets

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
        let before = listeners.addresses.count
        while true {
            do throws(SystemError) {
                return try listen(on: candidate, place, &listeners)
            } catch {
                // Any other error, a port in use among them, is one that the program should see.
                guard error.isAboutAddress, listeners.addresses.count == before,
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
        if pins { options.incomingCPU = processors[0] }
        // The kernel would let other listeners of this server share the address.
        let isClaimed = options.reusePort && !wanted.isDatagram
        if isClaimed && wanted.address.port != 0 { try claim(wanted.address, place) }
        let bound = try open(wanted.address, wanted, place, options)
        // A Unix path can be bound only once, so one loop accepts for all.
        let isShared = options.reusePort && configuration.loops > 1
        listeners.perLoop[first].append((bound, spreads: !isShared && configuration.loops > 1))
        listeners.addresses.append(bound.address)
        handedOut.withLock { $0.add(bound) }
        // The kernel has chosen a port, or IPv4 for a machine without IPv6.
        if isClaimed && bound.address != wanted.address { try claim(bound.address, place) }
        guard isShared else { return }
        // The kernel chose the first listener's port for port 0; the others share it.
        let real = wanted.address.with(port: bound.address.port)
        for loop in 1..<configuration.loops {
            if pins { options.incomingCPU = processors[loop] }
            let another = try open(real, wanted, place, options)
            listeners.perLoop[loop].append((another, spreads: false))
            handedOut.withLock { $0.add(another) }
        }
    }

    /// Reserves an address for these listeners, against two calls at the same moment and two names
    /// of one host. Throws EADDRINUSE if others have it.
    private func claim(_ address: SocketAddress, _ place: Int) throws(SystemError) {
        guard handedOut.withLock({ $0.claim(address.unmapped, for: place) }) else {
            throw SystemError(EADDRINUSE, "bind")
        }
    }

    private func open(
        _ address: SocketAddress, _ wanted: ListenAddress, _ place: Int, _ options: ListenOptions
    ) throws(SystemError) -> BoundListener {
        var bound = try openPlain(address, wanted, options)
        bound.layers = wanted.layers
        bound.place = place
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
        for listener in listeners.perLoop.joined() { discard(listener.bound) }
    }

    package func discard(_ listener: BoundListener) {
        if listenerCloses(listener) { parts.sockets.removePath(of: listener) }
        parts.sockets.discard(listener.descriptor)
        listenerClosed(listener)
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
    /// The layers below the bytes of accepted connections.
    package let layers: StreamLayers
    /// The host's other addresses, for the case that this machine does not have the first.
    package let others: [SocketAddress]

    package init(
        _ address: SocketAddress, onlyV6: Bool = false, isDatagram: Bool = false,
        isAnyHost: Bool = false, layers: StreamLayers = [], inherited: Descriptor? = nil,
        others: [SocketAddress] = []
    ) {
        self.others = others
        self.layers = layers
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

    /// The sockets for datagrams at one address, each by its loop and its index there.
    package func datagramSockets(of place: Int) -> [(loop: Int, index: Int)] {
        perLoop.indices.flatMap { loop in
            perLoop[loop].indices.filter {
                let bound = perLoop[loop][$0].bound
                return bound.isDatagram && bound.place == place
            }.map { (loop, $0) }
        }
    }
}

/// The index of the address that could not be listened on, and its error.
package struct ListenFailure: Error {
    package let address: Int
    package let error: SystemError
}
