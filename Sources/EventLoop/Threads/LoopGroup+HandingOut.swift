/// Listening sockets duplicated for another process, as in a restart, or for another server.
extension LoopGroup: ListenerOwner {
    /// Duplicates the listeners of these addresses, named by their numbers. Returns none of those
    /// that have begun to close. An error leaves no descriptor open. From any thread.
    package func duplicateListeners(_ places: [Int]) throws(SystemError) -> [Descriptor] {
        // Under the lock, so that no descriptor can close and have its number reused.
        let result = handedOut.withLock { open -> Result<[Descriptor], SystemError> in
            var copies: [Descriptor] = []
            let listeners = places.flatMap { open.listeners($0) }
            for listener in listeners {
                do throws(SystemError) {
                    copies.append(try parts.sockets.duplicate(listener.descriptor))
                } catch {
                    for copy in copies { parts.sockets.discard(copy) }
                    return .failure(error)
                }
            }
            for listener in listeners { open.markHandedOut(listener) }
            return .success(copies)
        }
        return try result.get()
    }

    package func listenerCloses(_ listener: BoundListener) -> Bool {
        handedOut.withLock { $0.remove(listener) }
    }

    package func listenerClosed(_ listener: BoundListener) {
        let bodies = handedOut.withLock { $0.closed(listener) }
        for body in bodies { body() }
    }

    package func isHandedOut(_ listener: BoundListener) -> Bool {
        handedOut.withLock { $0.isHandedOut(listener) }
    }

    package func isEnding(_ listener: BoundListener) -> Bool {
        handedOut.withLock { $0.isEnding(listener.place) }
    }

    /// Closes a descriptor that was given to the group in vain, unless the group listens on it.
    package func discardUnused(_ descriptor: Descriptor) {
        guard handedOut.withLock({ $0.reserve(descriptor) }) else { return }
        parts.sockets.discard(descriptor)
        handedOut.withLock { $0.release(descriptor) }
    }
}

/// The listeners of a group that have not begun to close, and the waits for those that have.
struct OpenListeners {
    private struct Entry {
        let listener: BoundListener
        var isHandedOut = false

        /// Not by the descriptor alone: between a close and its report, its number may be another
        /// listener's.
        func isOf(_ other: BoundListener) -> Bool {
            listener.descriptor == other.descriptor && listener.place == other.place
        }
    }

    /// The sockets of one address that are not closed yet.
    private struct Unclosed {
        var count = 0
        var isEnding = false
        var whenClosed: [@Sendable () -> Void] = []
        var claim: SocketAddress?
    }

    private var entries: [Entry] = []
    private var unclosed: [Int: Unclosed] = [:]
    /// The addresses that the kernel would let others listen on too, and their numbers.
    private var claims: [SocketAddress: Int] = [:]
    /// Numbers of a loop's listeners that no other listener gets, since programs know a datagram
    /// socket by its number.
    private var spent = 0
    /// The descriptors that the group will close, each with its uses: between a close and its
    /// report, the number may belong to the next listener already.
    private var held: [Descriptor: Int] = [:]
    private var places = 0

    /// The most addresses at once: a loop numbers its listeners with 16 bits.
    static let mostAddresses = 1 << 16

    /// Begins an address and returns its number; nil if there are as many as there can be.
    mutating func begin() -> Int? {
        guard unclosed.count + spent < Self.mostAddresses else { return nil }
        defer { places += 1 }
        unclosed[places] = Unclosed()
        return places
    }

    /// Ends an address that has got no socket.
    mutating func giveUp(_ place: Int) {
        guard unclosed[place]?.count == 0 else { return }
        forget(place)
    }

    /// Reserves an address for the listeners with this number. False if other listeners have it,
    /// and do not end.
    mutating func claim(_ address: SocketAddress, for place: Int) -> Bool {
        if let other = claims[address], other != place, !isEnding(other) { return false }
        // The host of a name may have had another address, which could not be bound.
        releaseClaim(of: place)
        claims[address] = place
        unclosed[place]?.claim = address
        return true
    }

    private mutating func releaseClaim(of place: Int) {
        guard let claim = unclosed[place]?.claim, claims[claim] == place else { return }
        claims[claim] = nil
    }

    private mutating func forget(_ place: Int) {
        releaseClaim(of: place)
        unclosed[place] = nil
    }

    mutating func add(_ listener: BoundListener) {
        entries.append(Entry(listener: listener))
        unclosed[listener.place, default: Unclosed()].count += 1
        held[listener.descriptor, default: 0] += 1
    }

    /// Takes a descriptor that the group will close. False if it has that already.
    mutating func reserve(_ descriptor: Descriptor) -> Bool {
        guard held[descriptor] == nil else { return false }
        held[descriptor] = 1
        return true
    }

    mutating func release(_ descriptor: Descriptor) {
        guard let uses = held[descriptor] else { return }
        held[descriptor] = uses > 1 ? uses - 1 : nil
    }

    func listeners(_ place: Int) -> [BoundListener] {
        entries.map(\.listener).filter { $0.place == place }
    }

    /// Keeps a closure until an address that ends has no socket left. False if it has none.
    mutating func end(_ place: Int, _ body: @escaping @Sendable () -> Void) -> Bool {
        guard unclosed[place] != nil else { return false }
        unclosed[place]?.isEnding = true
        unclosed[place]?.whenClosed.append(body)
        return true
    }

    func isEnding(_ place: Int) -> Bool { unclosed[place]?.isEnding == true }

    /// Returns the closures that have waited for this socket, the last of its address.
    mutating func closed(_ listener: BoundListener) -> [@Sendable () -> Void] {
        release(listener.descriptor)
        guard var left = unclosed[listener.place] else { return [] }
        left.count -= 1
        unclosed[listener.place] = left
        guard left.count == 0 else { return [] }
        forget(listener.place)
        if listener.isDatagram { spent += 1 }
        return left.whenClosed
    }

    mutating func markHandedOut(_ listener: BoundListener) {
        for index in entries.indices
        where entries[index].isOf(listener) {
            entries[index].isHandedOut = true
        }
    }

    func isHandedOut(_ listener: BoundListener) -> Bool {
        entries.contains { $0.isOf(listener) && $0.isHandedOut }
    }

    /// Removes a listener that closes. Returns whether it was never handed out, so that its path
    /// may be removed. False if it was removed already: the first caller removes the path.
    mutating func remove(_ listener: BoundListener) -> Bool {
        guard
            let index = entries.firstIndex(where: { $0.isOf(listener) })
        else { return false }
        return !entries.remove(at: index).isHandedOut
    }
}
