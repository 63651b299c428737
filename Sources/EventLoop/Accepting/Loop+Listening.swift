/// Listeners that begin and end while the loop runs.
extension Loop {
    /// Accepts on a socket that is bound already. A loop that is stopping closes it instead.
    func listen(_ bound: BoundListener, spreads: Bool) {
        guard !isStopping, let listener = acceptor.add(bound, spreads: spreads) else {
            removePath(of: bound)
            sockets.discard(bound.descriptor)
            return owner.listenerClosed(bound)
        }
        guard !owner.isEnding(bound) else { return stopAccepting(listener) }
        startAccepting(listener)
    }

    /// Stops accepting on one address: serves the clients in its backlog, then closes it.
    func stopListening(_ place: Int) {
        for listener in acceptor.indices where acceptor.listeners[listener].bound.place == place {
            stopAccepting(listener)
        }
    }
}
