internal import MillraceEventLoop

/// A restart without a gap: the next server gets the listening sockets before this one stops.
extension Server {
    /// Duplicates the sockets that listen on an address, given as in the list or as in
    /// `boundAddresses`. Returns one descriptor, with `reusePort` one for each loop. An address
    /// that several sockets have, such as those that a server with `reusePort` has handed out,
    /// names all of them. The caller owns and closes the descriptors. They are closed on exec
    /// unless the caller clears FD_CLOEXEC for a child that inherits them.
    ///
    /// Pass them to another server as `.inherited`, or to another process as `fd://3`. Stop this
    /// server when the other one serves. The sockets never close, so no client is refused or reset
    /// meanwhile, and either server accepts the clients in the backlog. A stop accepts those that
    /// wait then, so none is lost if the other server has failed to start. A Unix path that was
    /// handed out stays in place when this server stops. Remove it after the last server has
    /// stopped, or leave it: the next server that binds it replaces a dead path. Callable from any
    /// thread, from `onBoot` on.
    ///
    /// Throws `.invalidAddress` for an address without a listener, and `.unsupported` before the
    /// start and for `udp://`. Throws `.closed` once the server stops, and `.system` when the
    /// process may have no more descriptors.
    public func duplicateListeners(of address: Address) throws(NetError) -> [CInt] {
        guard let group else {
            guard state.withLock({ $0.isReady }) else { throw .hasStopped }
            throw NetError(
                .unsupported, "\(address) is not bound before the server has started",
                "call start() first")
        }
        let known = listening
        let found = known.filter { $0.isNamed(address) }
        guard !found.isEmpty else { throw .notListening(on: address, known) }
        guard !found.contains(where: \.wanted.isDatagram) else {
            throw NetError(
                .unsupported, "\(address) has no listener: datagrams have no backlog to hand over",
                "set reusePort in both servers instead")
        }
        let copies: [Descriptor]
        do throws(SystemError) {
            copies = try group.duplicateListeners(found.map(\.place))
        } catch {
            throw NetError(
                .system, "\(address): \(error.message) (\(error.name))",
                "raise the limit of open files", errno: error.number)
        }
        guard !copies.isEmpty else {
            throw NetError(
                .closed, "the listener of \(address) has closed",
                "hand it out before the server stops")
        }
        return copies.map(\.number)
    }
}
