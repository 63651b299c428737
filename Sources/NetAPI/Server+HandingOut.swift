internal import EventLoop

/// Restarting without a gap: the next server gets the listening sockets before this one stops.
extension Server {
    /// Duplicates the sockets that listen on an address, given as in the list or as in
    /// `boundAddresses`: one descriptor, or with `reusePort` one for each loop. They are yours to
    /// close, and closed on exec until you clear that for a child that is to inherit them.
    ///
    /// Hand them to another server as `.inherited`, or to another process as `fd://3`, and stop
    /// this one when that serves: since the socket never closes, nobody is refused or reset
    /// meanwhile, and who waits is served by either. A Unix path that was handed out stays in place
    /// when this server stops; remove it when the last one has, or leave it: the next server that
    /// binds it replaces a dead one. From any thread, from `onBoot` on.
    ///
    /// Throws `.invalidAddress` for what is not listened on, `.unsupported` before the start and
    /// for `udp://`, `.closed` once the server stops, and `.system` when the process may have no
    /// more descriptors.
    public func duplicateListeners(of address: Address) throws(NetError) -> [CInt] {
        guard let group else {
            guard state.withLock({ $0.isReady }) else { throw .hasStopped }
            throw NetError(
                .unsupported, "\(address) is not bound before the server has started",
                "call start() first")
        }
        let bound = boundAddresses
        guard
            let place = listenAddresses.indices.first(where: {
                listenAddresses[$0] == address || bound[$0] == address
            })
        else {
            let known = bound.map(\.description).joined(separator: ", ")
            throw NetError(
                .invalidAddress, "this server does not listen on \(address)",
                "give one of \(known)")
        }
        guard !listenAddresses[place].isDatagram else {
            throw NetError(
                .unsupported, "\(address) has no listener: datagrams have no backlog to hand over",
                "set reusePort in both servers instead")
        }
        let copies: [Descriptor]
        do throws(SystemError) {
            copies = try group.duplicateListeners(place)
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
