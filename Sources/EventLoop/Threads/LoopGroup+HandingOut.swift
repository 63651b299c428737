/// Listening sockets duplicated for another process, as in a restart, or for another server.
extension LoopGroup: ListenerOwner {
    /// Duplicates the listeners of one address, named by its index in the list. Returns none once
    /// the listeners have begun to close. An error leaves no descriptor open. From any thread.
    package func duplicateListeners(_ place: Int) throws(SystemError) -> [Descriptor] {
        // Under the lock, so that no descriptor can close and have its number reused.
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

    /// Removes a listener that closes. Returns whether it was never handed out, so that its path
    /// may be removed. False if it was removed already: the first caller removes the path.
    mutating func remove(_ listener: BoundListener) -> Bool {
        guard
            let index = entries.firstIndex(where: {
                $0.listener.descriptor == listener.descriptor
            })
        else { return false }
        return !entries.remove(at: index).isHandedOut
    }
}
