/// Pipes: what one connection receives goes to another one of the same loop, as fast as that takes
/// it.

extension Loop {
    /// From now on everything unread or received of `source` goes to `target`; the handler of
    /// `source` rests. Its end passes on.
    package func pipe(_ source: ConnectionReference, to target: ConnectionReference) {
        guard source.pointee.state == .open, target.pointee.state == .open,
            let details = source.pointee.details?.takeUnretainedValue(),
            let targetDetails = target.pointee.details?.takeUnretainedValue()
        else { return }
        precondition(
            source.pointee.loop.toOpaque() == target.pointee.loop.toOpaque(),
            "a pipe between connections of two loops: connect with connection.connect(to:)")
        if let before = details.pipeTarget.flatMap({ table.find($0) }) {
            let others = before.pointee.details?.takeUnretainedValue()
            others?.pipeSources.removeAll { $0 == source.pointee.token }
        }
        details.pipeTarget = target.pointee.token
        targetDetails.pipeSources.append(source.pointee.token)
        source.pointee.flags.insert(.piped)
        source.pointee.flags.subtract([.trafficDue, .wakeDue, .pipeFull])
        // An end that the handler was told of already is to pass on too.
        if source.pointee.flags.contains(.peerEnded) { source.pointee.flags.insert(.endDue) }
        updateReading(source)
        // Outside the callback that may be reading these bytes.
        enqueue(source)
    }

    /// The target of a pipe while it takes bytes.
    private func target(of source: ConnectionReference) -> ConnectionReference? {
        guard let token = source.pointee.details?.takeUnretainedValue().pipeTarget,
            let target = table.find(token), target.pointee.state == .open
        else { return nil }
        return target
    }

    /// Passes fresh bytes on; what the target no longer wants is dropped.
    func passOn(_ source: ConnectionReference, _ bytes: UnsafeRawBufferPointer) {
        guard let target = target(of: source) else { return }
        write(target, bytes)
        // At once: bytes behind these may come in the same turn.
        if depth == 0 && target.pointee.flags.contains(.dirty) { flush(target) }
        // The write has marked it congested, so relief will come.
        if target.pointee.outbound.count > configuration.outboundHighMark {
            source.pointee.flags.insert(.pipeFull)
            updateReading(source)
        }
    }

    /// What was unread when the pipe was made.
    func passOnUnread(_ source: ConnectionReference) {
        guard source.pointee.inbound.count > 0 else { return }
        passOn(source, takeAll(source))
        if depth == 0 && !retired.isEmpty { retired.free() }
    }

    /// The target has caught up.
    func reliefForPipe(_ target: ConnectionReference) {
        for token in target.pointee.details?.takeUnretainedValue().pipeSources ?? [] {
            guard let source = table.find(token), source.pointee.flags.contains(.pipeFull) else {
                continue
            }
            source.pointee.flags.remove(.pipeFull)
            updateReading(source)
            enqueue(source)
        }
    }

    /// The source's peer has ended its side: so does ours to the target, and when both directions
    /// have ended both connections are closed.
    func pipeEnded(_ source: ConnectionReference) {
        if let target = target(of: source) { shutdownWrite(target) }
        let isTarget = source.pointee.details?.takeUnretainedValue().pipeSources.isEmpty == false
        if !isTarget || source.pointee.flags.contains(.writeEnded) { close(source, .peer) }
        if depth == 0 { attend(source) }
    }

    /// A connection of a pipe closes: the others of it follow when they have sent what they got.
    func pipeBroken(_ connection: ConnectionReference) {
        guard let details = connection.pointee.details?.takeUnretainedValue() else { return }
        guard details.pipeTarget != nil || !details.pipeSources.isEmpty else { return }
        for token in details.pipeSources + [details.pipeTarget].compactMap({ $0 }) {
            if let other = table.find(token), other.pointee.state == .open {
                close(other, .peer)
            }
        }
        details.pipeTarget = nil
        details.pipeSources = []
    }
}
