import Glibc

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
            if before.pointee.state == .open, before != target { endTarget(before) }
        }
        details.pipeTarget = target.pointee.token
        targetDetails.pipeSources.append(source.pointee.token)
        source.pointee.flags.insert(.piped)
        passOnEmptyDatagram(source)
        source.pointee.flags.subtract([.trafficDue, .wakeDue, .pipeFull, .throttled])
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
        if target.pointee.flags.contains(.datagrams) {
            writeWhole(target) { write(target, bytes) }
        } else {
            write(target, bytes)
            // At once: bytes behind these may come in the same turn.
            if depth == 0 && target.pointee.flags.contains(.dirty) { flush(target) }
        }
        // The write has marked it congested, so relief will come.
        if target.pointee.outbound.memory > pipeMark(of: source) {
            source.pointee.flags.insert(.pipeFull)
            updateReading(source)
        }
    }

    /// How much may wait in the target. What a reset has left in the kernel is taken in soon, since
    /// it can grow no more and holds a descriptor.
    private func pipeMark(of source: ConnectionReference) -> Int {
        source.pointee.flags.contains(.broken)
            ? max(configuration.outboundHighMark, configuration.outboundLimit / 2)
            : configuration.outboundHighMark
    }

    /// What was unread when the pipe was made.
    func passOnUnread(_ source: ConnectionReference) {
        guard source.pointee.inbound.count > 0 else { return }
        passOn(source, takeAll(source))
        if depth == 0 && !retired.isEmpty { retired.free() }
    }

    /// One that came during a pause, and that no byte tells of.
    private func passOnEmptyDatagram(_ source: ConnectionReference) {
        guard takeEmptyDatagram(source), let target = target(of: source) else { return }
        // Not sent from inside a callback that may be the target's own.
        writeNothing(target)
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

    /// The source's peer has ended its side: so does ours to the target, behind the last source
    /// that it has. The source lives on, for what the target answers, until the target ends too.
    func pipeEnded(_ source: ConnectionReference) {
        guard let target = target(of: source) else {
            close(source, .peer)
            if depth == 0 { attend(source) }
            return
        }
        endTarget(target)
        closeIfBothEnded(source)
    }

    /// Ends our side of a pipe's target if each of its sources has ended, or resets it if one of
    /// them was cut.
    private func endTarget(_ target: ConnectionReference) {
        guard !isFed(target) else { return }
        if target.pointee.flags.contains(.resetsAtEnd) {
            return close(target, .reset(SystemError(ECONNRESET, "recv")))
        }
        shutdownWrite(target)
        // Its own peer's end may have waited for this.
        enqueue(target)
    }

    /// The peer of a pipe's target has ended its side: no answer will come any more, and each
    /// source is told so by an end. What they bring still goes out.
    func endSources(of target: ConnectionReference) {
        for token in target.pointee.details?.takeUnretainedValue().pipeSources ?? [] {
            if let source = table.find(token) { shutdownWrite(source) }
        }
    }

    /// Whether a pipe's source may still bring bytes for it.
    func isFed(_ target: ConnectionReference) -> Bool {
        let sources = target.pointee.details?.takeUnretainedValue().pipeSources ?? []
        return sources.contains { token in
            guard let source = table.find(token) else { return false }
            return !source.pointee.flags.contains(.peerEnded)
                || source.pointee.flags.contains(.endDue)
        }
    }

    /// A connection of a pipe closes: the others of it follow when they have sent what they got. If
    /// it was cut, so are they: a stream that merely ended would look complete.
    func pipeBroken(_ connection: ConnectionReference, _ cause: CloseCause) {
        guard let details = connection.pointee.details?.takeUnretainedValue(),
            details.pipeTarget != nil || !details.pipeSources.isEmpty
        else { return }
        let isMoving =
            !connection.pointee.flags.contains(.peerEnded)
            && connection.pointee.lastReceived + Self.quietTime > now
        let isCut =
            cause.isCut || connection.pointee.flags.contains(.aborting)
            || (cause.isShutdown && isMoving)
        let (target, sources) = (details.pipeTarget, details.pipeSources)
        details.pipeTarget = nil
        details.pipeSources = []
        for token in sources {
            if let source = table.find(token) { follow(source, isCut, cause) }
        }
        guard let target = target.flatMap({ table.find($0) }),
            let targetDetails = target.pointee.details?.takeUnretainedValue()
        else { return }
        targetDetails.pipeSources.removeAll { $0 == connection.pointee.token }
        if targetDetails.pipeSources.isEmpty {
            follow(target, isCut, cause)
        } else if target.pointee.state == .open {
            if isCut { target.pointee.flags.insert(.resetsAtEnd) }
            endTarget(target)
        }
    }

    private func follow(_ other: ConnectionReference, _ isCut: Bool, _ cause: CloseCause) {
        guard other.pointee.state == .open else { return }
        close(other, isCut ? cause : .peer)
        if isCut { other.pointee.flags.insert(.resetsAtEnd) }
    }
}

extension CloseCause {
    /// The stream may have ended in the middle.
    fileprivate var isCut: Bool {
        switch self {
        case .local, .peer, .shutdown: false
        case .reset, .handlerError, .timeout, .inboundOverflow, .outboundOverflow: true
        }
    }

    fileprivate var isShutdown: Bool {
        if case .shutdown = self { true } else { false }
    }
}
