/// Listening sockets given to others: to the next process of a restart, or to another server.
extension LoopGroup {
    /// Duplicates what listens on an address, by its place in the list: none once it has begun to
    /// close. On an error nothing is left open. From any thread.
    package func duplicateListeners(_ place: Int) throws(SystemError) -> [Descriptor] {
        // Under the lock, so that no descriptor closes, and its number is no other's, meanwhile.
        let result = handedOut.withLock { open -> Result<[Descriptor], SystemError> in
            var copies: [Descriptor] = []
            let listeners = open.listeners(place)
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

    package func isHandedOut(_ listener: BoundListener) -> Bool {
        handedOut.withLock { $0.isHandedOut(listener) }
    }

    package func listenerCloses(_ listener: BoundListener) -> Bool {
        handedOut.withLock { $0.remove(listener) }
    }
}

/// The listeners of a group that have not begun to close.
struct OpenListeners {
    private struct Entry {
        let listener: BoundListener
        let place: Int
        var isHandedOut = false
    }

    private var entries: [Entry] = []

    mutating func add(_ listener: BoundListener, _ place: Int) {
        entries.append(Entry(listener: listener, place: place))
    }

    func listeners(_ place: Int) -> [BoundListener] {
        entries.filter { $0.place == place }.map(\.listener)
    }

    mutating func markHandedOut(_ listener: BoundListener) {
        for index in entries.indices
        where entries[index].listener.descriptor == listener.descriptor {
            entries[index].isHandedOut = true
        }
    }

    func isHandedOut(_ listener: BoundListener) -> Bool {
        entries.contains { $0.listener.descriptor == listener.descriptor && $0.isHandedOut }
    }

    /// Whether it was ours alone, so that its path may go. False for one that closes already: who
    /// asked first has seen to it.
    mutating func remove(_ listener: BoundListener) -> Bool {
        guard
            let index = entries.firstIndex(where: {
                $0.listener.descriptor == listener.descriptor
            })
        else { return false }
        return !entries.remove(at: index).isHandedOut
    }
}
