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
        // The mark was of an earlier target, unless a source was cut.
        if !details.hasCutSource { source.flags.remove(.resetsAtEnd) }
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
            return awaitEnd(of: source)
        }
        if target.flags.contains(.datagrams) {
            writeWhole(target) { writePassedOn(target, bytes) }
        } else {
            writePassedOn(target, bytes)
            // At once, since further bytes may follow in the same turn.
            if depth == 0 && target.flags.contains(.dirty) { flush(target) }
        }
        holdBackIfFull(target, source)
    }

    /// Writes without the limit, which is for programs: the library itself holds back the source.
    private func writePassedOn(_ target: ConnectionReference, _ bytes: UnsafeRawBufferPointer) {
        isPassingOn = true
        write(target, bytes)
        isPassingOn = false
    }

    /// Holds back the source that fills its target. Others bring at most one receive each before
    /// they are held back too; to stop thousands of silent ones would cost more than that.
    private func holdBackIfFull(_ target: ConnectionReference, _ source: ConnectionReference) {
        let waiting = target.outbound.memory + sealedCount(target)
        guard waiting > pipeMark(of: source), !source.pauses.contains(.pipe) else { return }
        // So that `relieve` follows, also where the pipe's mark is below the high mark.
        target.flags.insert(.congested)
        holdBack(source)
    }

    private func holdBack(_ source: ConnectionReference) {
        guard source.state == .open, !source.pauses.contains(.pipe) else { return }
        source.pauses.insert(.pipe)
        updateReading(source)
    }

    /// Holds back the source of a target that is closing, until it closes too. Its bytes are lost,
    /// and the target's last ones may wait long for a slow peer. After a reset the kernel has few
    /// bytes left, which are read at once.
    private func awaitEnd(of source: ConnectionReference) {
        guard let token = source.details?.takeUnretainedValue().pipeTarget,
            table.find(token)?.state == .finishing, !source.flags.contains(.broken)
        else { return }
        holdBack(source)
    }

    /// The most bytes that may wait in the target. They leave room for writes of its handler. After
    /// a reset the kernel's remaining input cannot grow and holds a descriptor, so more of it is
    /// read at once.
    private func pipeMark(of source: ConnectionReference) -> Int {
        let most = configuration.outboundLimit / 2
        return source.flags.contains(.broken) ? most : min(configuration.outboundHighMark, most)
    }

    /// The bytes above the limit that the sources of a pipe's target may have under way when the
    /// target is full: the receive buffers of a ring.
    func pipeExcess(of target: ConnectionReference) -> Int {
        let sources = target.details?.takeUnretainedValue().pipeSources ?? []
        return sources.isEmpty ? 0 : 8 << 20
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

    /// Marks the connections of a pipe if the closing one was cut. The others may close in the same
    /// turn, before they can follow, and a stream that merely ended would look complete. So would
    /// that of the closing one while its sources have more for it.
    func noteCut(
        _ connection: ConnectionReference, _ details: ConnectionDetails, _ cause: CloseCause
    ) {
        guard
            cause.isCut || connection.flags.contains(.aborting)
                || (cause.isShutdown && bringsMore(connection))
        else { return }
        details.extras.isCut = true
        if lacksBytes(connection) { resetAtEnd(connection) }
        for token in details.pipeSources {
            if let source = table.find(token) { resetAtEnd(source) }
        }
        if let target = details.pipeTarget.flatMap({ table.find($0) }) { sourceWasCut(target) }
    }

    /// Whether a source has bytes for this target that it has not passed on, or was cut itself.
    private func lacksBytes(_ target: ConnectionReference) -> Bool {
        let sources = target.details?.takeUnretainedValue().pipeSources ?? []
        return sources.contains { token in
            guard let source = table.find(token) else { return false }
            return !isInputOver(source) || source.inbound.count > 0
                || source.flags.contains(.broken) || cut(of: source) != nil
        }
    }

    private func sourceWasCut(_ target: ConnectionReference) {
        target.details?.takeUnretainedValue().extras.hasCutSource = true
        resetAtEnd(target)
    }

    /// Whether the peer of a pipe's source has probably not sent its last bytes.
    private func bringsMore(_ source: ConnectionReference) -> Bool {
        guard source.flags.contains(.piped), !isInputOver(source) else { return false }
        return source.pauses.contains(.pipe) || source.lastReceived + Drain.pipeQuietTime > now
            || isBehind || sockets.hasUnread(source.descriptor)
    }

    /// A connection that was closed before by its handler, or by its peer's end, keeps its end.
    private func resetAtEnd(_ other: ConnectionReference) {
        let isEnding =
            other.state == .finishing && !other.flags.contains(.endSent)
            && other.details?.takeUnretainedValue().cause?.isEnd != true
        if other.state == .open || isEnding { other.flags.insert(.resetsAtEnd) }
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
            if isCut { sourceWasCut(target) }
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

    /// Whether the connection ended as its handler or its peer wished.
    fileprivate var isEnd: Bool {
        switch self {
        case .local, .peer: true
        case .reset, .filter, .handlerError, .timeout, .inboundOverflow, .outboundOverflow,
            .shutdown:
            false
        }
    }

    fileprivate var isShutdown: Bool {
        if case .shutdown = self { true } else { false }
    }
}
