import Glibc

/// Pipes: the bytes that one connection receives go to another of the same loop, at the target's
/// speed.

extension Loop {
    /// Sends all unread and future bytes of `source` to `target`, and its end too. The handler of
    /// `source` gets no more input.
    package func pipe(_ source: ConnectionReference, to target: ConnectionReference) {
        guard source.state == .open, target.state == .open,
            let details = source.details?.takeUnretainedValue(),
            let targetDetails = target.details?.takeUnretainedValue()
        else { return }
        precondition(
            source.loop.toOpaque() == target.loop.toOpaque(),
            "a pipe between connections of two loops: connect with connection.connect(to:)")
        if let before = details.pipeTarget.flatMap({ table.find($0) }) {
            let others = before.details?.takeUnretainedValue()
            others?.extras.pipeSources.removeAll { $0 == source.token }
            if before.state == .open, before != target { endTarget(before) }
        }
        details.pipeTarget = target.token
        targetDetails.extras.pipeSources.append(source.token)
        source.flags.insert(.piped)
        passOnEmptyDatagram(source)
        source.flags.subtract([.trafficDue, .wakeDue])
        markKeptDatagrams(source)
        source.pauses.subtract([.pipe, .output])
        // An end that the handler knows already must reach the target too.
        if isInputOver(source) { source.flags.insert(.endDue) }
        updateReading(source)
        // Not inside the callback, which may still read these bytes.
        enqueue(source)
    }

    /// The target of a pipe while it accepts writes.
    func target(of source: ConnectionReference) -> ConnectionReference? {
        guard let token = source.details?.takeUnretainedValue().pipeTarget,
            let target = table.find(token), target.state == .open
        else { return nil }
        return target
    }

    /// Writes fresh bytes to the target; dropped if the target accepts none.
    func passOn(_ source: ConnectionReference, _ bytes: UnsafeRawBufferPointer) {
        guard let target = target(of: source) else {
            source.discarded += bytes.count
            return
        }
        if target.flags.contains(.datagrams) {
            writeWhole(target) { write(target, bytes) }
        } else {
            write(target, bytes)
            // At once, since further bytes may follow in the same turn.
            if depth == 0 && target.flags.contains(.dirty) { flush(target) }
        }
        // The write has marked the target as congested, so `relieve` will follow.
        if target.outbound.memory + sealedCount(target) > pipeMark(of: source) {
            source.pauses.insert(.pipe)
            updateReading(source)
        }
    }

    /// The most bytes that may wait in the target. After a reset the kernel's remaining input
    /// cannot grow and holds a descriptor, so more of it is read at once.
    private func pipeMark(of source: ConnectionReference) -> Int {
        source.flags.contains(.broken)
            ? max(configuration.outboundHighMark, configuration.outboundLimit / 2)
            : configuration.outboundHighMark
    }

    /// Passes on bytes that were unread when the pipe was made.
    func passOnUnread(_ source: ConnectionReference) {
        guard source.inbound.count > 0 else { return }
        passOn(source, takeAll(source))
        if depth == 0 && !retired.isEmpty { retired.free() }
    }

    /// Passes on an empty datagram whose callback makes the pipe.
    private func passOnEmptyDatagram(_ source: ConnectionReference) {
        guard takeEmptyDatagram(source), let target = target(of: source) else { return }
        // Not sent here: the running callback may be the target's own.
        writeNothing(target)
    }

    /// Resumes the sources of a target that has caught up.
    func reliefForPipe(_ target: ConnectionReference) {
        for token in target.details?.takeUnretainedValue().pipeSources ?? [] {
            guard let source = table.find(token), source.pauses.contains(.pipe) else {
                continue
            }
            source.pauses.remove(.pipe)
            updateReading(source)
            enqueue(source)
        }
    }

    /// Handles the end of the source's peer. After the last of the target's sources has ended, our
    /// side to the target ends too. The source stays open for the target's answers until the target
    /// ends.
    func pipeEnded(_ source: ConnectionReference) {
        guard let target = target(of: source) else {
            close(source, .peer)
            if depth == 0 { process(source) }
            return
        }
        endTarget(target)
        closeIfBothEnded(source)
    }

    /// Ends our side of a pipe's target once all its sources have ended. Resets it if one of them
    /// was cut.
    private func endTarget(_ target: ConnectionReference) {
        guard !isFed(target) else { return }
        if target.flags.contains(.resetsAtEnd) {
            return close(target, .reset(SystemError(ECONNRESET, "recv")))
        }
        shutdownWrite(target)
        // The end of the target's own peer may have waited for this.
        enqueue(target)
    }

    /// Handles the end of the target's peer: no more answers will come, so our side of each source
    /// ends. Bytes that the sources still bring are sent.
    func endSources(of target: ConnectionReference) {
        for token in target.details?.takeUnretainedValue().pipeSources ?? [] {
            if let source = table.find(token) { shutdownWrite(source) }
        }
    }

    /// Whether a source may still bring bytes for this target.
    func isFed(_ target: ConnectionReference) -> Bool {
        let sources = target.details?.takeUnretainedValue().pipeSources ?? []
        return sources.contains { token in
            guard let source = table.find(token) else { return false }
            return !isInputOver(source) || source.flags.contains(.endDue)
        }
    }

    /// The connections of the same pipes, which move bytes to or from this one.
    func othersInPipe(_ connection: ConnectionReference) -> [ConnectionReference] {
        guard let details = connection.details?.takeUnretainedValue() else { return [] }
        let tokens = details.pipeSources + (details.pipeTarget.map { [$0] } ?? [])
        return tokens.compactMap { table.find($0) }
    }

    /// Marks the others of a pipe if the closing connection was cut. They may close in the same
    /// turn, before they can follow, and a stream that merely ended would look complete.
    func noteCut(
        _ connection: ConnectionReference, _ details: ConnectionDetails, _ cause: CloseCause
    ) {
        guard
            cause.isCut || connection.flags.contains(.aborting)
                || (cause.isShutdown && bringsMore(connection))
        else { return }
        details.extras.isCut = true
        for other in othersInPipe(connection) { resetAtEnd(other) }
    }

    /// Whether the peer of a pipe's source has probably not sent its last bytes.
    private func bringsMore(_ source: ConnectionReference) -> Bool {
        guard source.flags.contains(.piped), !isInputOver(source) else { return false }
        return source.pauses.contains(.pipe) || source.lastReceived + Drain.quietTime > now
            || isBehind || sockets.hasUnread(source.descriptor)
    }

    private func resetAtEnd(_ other: ConnectionReference) {
        guard other.state == .open || other.state == .finishing && !other.flags.contains(.endSent)
        else { return }
        other.flags.insert(.resetsAtEnd)
    }

    /// Closes the other connections of a pipe once their bytes are sent, with resets if the closing
    /// one was cut.
    func pipeBroken(_ connection: ConnectionReference, _ cause: CloseCause) {
        guard let details = connection.details?.takeUnretainedValue(), details.isInPipe else {
            return
        }
        // Input that came while the last output was sent is lost.
        let isCut =
            cause.isCut || connection.flags.contains(.aborting) || details.extras.isCut
            || (cause.isShutdown && connection.flags.contains(.piped)
                && connection.discarded > 0)
        let (target, sources) = (details.pipeTarget, details.pipeSources)
        details.pipeTarget = nil
        if !sources.isEmpty { details.extras.pipeSources = [] }
        for token in sources {
            if let source = table.find(token) { follow(source, isCut, cause) }
        }
        guard let target = target.flatMap({ table.find($0) }),
            let targetDetails = target.details?.takeUnretainedValue()
        else { return }
        targetDetails.extras.pipeSources.removeAll { $0 == connection.token }
        if targetDetails.pipeSources.isEmpty {
            follow(target, isCut, cause)
        } else if target.state == .open {
            if isCut { target.flags.insert(.resetsAtEnd) }
            endTarget(target)
        }
    }

    private func follow(_ other: ConnectionReference, _ isCut: Bool, _ cause: CloseCause) {
        close(other, isCut ? cause : .peer)
        if isCut { resetAtEnd(other) }
    }
}

extension CloseCause {
    /// Whether the stream may have ended in the middle.
    fileprivate var isCut: Bool {
        switch self {
        case .local, .peer, .shutdown: false
        case .reset, .filter, .handlerError, .timeout, .inboundOverflow, .outboundOverflow: true
        }
    }

    fileprivate var isShutdown: Bool {
        if case .shutdown = self { true } else { false }
    }
}
