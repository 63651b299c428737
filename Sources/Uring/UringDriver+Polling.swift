internal import CLinux
internal import CURing
internal import EventLoop
import Glibc

/// Readiness by the ring, for what must be bounded: a multishot poll, and for each event a try by
/// accept4(2) or recv(2).
///
/// Listeners are served so on every kernel: a multishot accept takes as many connections out of the
/// backlog as there are, however busy the loop is. Streams are received so where the kernel refuses
/// to limit a multishot receive (before Linux 6.17): without a limit it fills every buffer of the
/// ring after it was cancelled, and nothing bounds what is then kept.
///
/// A multishot poll reports each event once. A try that may have left something behind is repeated
/// after the next wait, whatever the poll says.
extension UringDriver {
    private static let pollEvents = UInt32(MR_POLLIN | MR_POLLPRI)
    /// Events after which a short receive does not mean that nothing is left.
    private static let specialEvents =
        CInt(MR_POLLPRI) | CInt(MR_POLLRDHUP) | CInt(MR_POLLERR) | CInt(MR_POLLHUP)
    private static let hangUpEvents = CInt(MR_POLLERR) | CInt(MR_POLLHUP)

    /// The stream was just asked for. Arming reports what is there already; an armed poll may have
    /// reported it to nobody.
    func startPolling(_ entry: UnsafeMutablePointer<UringEntry>) {
        if entry.pointee.state.contains(.pollArmed) {
            queueTry(entry)
        } else {
            armPoll(entry)
        }
    }

    private func armPoll(_ entry: UnsafeMutablePointer<UringEntry>) {
        if entry.pointee.state.contains(.receiving), isUnixSocket(entry.pointee.descriptor) {
            entry.pointee.state.insert(.isUnix)
        }
        mr_prepare_poll(
            submission(), entry.pointee.descriptor, Self.pollEvents,
            UringKind.poll.userData(entry.pointee.token))
        entry.pointee.state.insert(.pollArmed)
        inFlight += 1
    }

    private func isUnixSocket(_ descriptor: CInt) -> Bool {
        var domain: CInt = 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        return getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0
            && domain == AF_UNIX
    }

    /// In this turn, behind what is ready.
    private func queueTry(_ entry: UnsafeMutablePointer<UringEntry>) {
        guard !entry.pointee.state.contains(.tryQueued) else { return }
        entry.pointee.state.insert(.tryQueued)
        ready.append(.attempt(entry.pointee.token))
    }

    /// After the next wait, which does not sleep.
    func queueLaterTry(_ entry: UnsafeMutablePointer<UringEntry>) {
        guard !entry.pointee.state.contains(.tryQueued) else { return }
        entry.pointee.state.insert(.tryQueued)
        later.append(entry.pointee.token)
    }

    func completePoll(_ token: Token, _ result: Int32, _ flags: UInt32) -> Completion? {
        let more = flags & UInt32(MR_CQE_MORE) != 0
        if !more { inFlight -= 1 }
        guard let entry = entries.find(token) else { return stale(0) }
        if !more { entry.pointee.state.remove(.pollArmed) }
        if entry.pointee.state.contains(.closing) {
            closeIfIdle(entry)
            return nil
        }
        guard !entry.pointee.state.isDisjoint(with: [.receiving, .accepting]) else {
            // Paused: without this, each further packet would wake the loop for nothing.
            if more { cancel(.cancelPoll, entry) }
            return nil
        }
        if !more { armPoll(entry) }
        if result > 0 && result & Self.specialEvents != 0 {
            entry.pointee.state.insert(.untilEmpty)
        }
        return attempt(entry)
    }

    /// A try that was queued; nil if nothing came of it.
    func attempt(_ token: Token) -> Completion? {
        guard let entry = entries.find(token) else { return nil }
        entry.pointee.state.remove(.tryQueued)
        return attempt(entry)
    }

    private func attempt(_ entry: UnsafeMutablePointer<UringEntry>) -> Completion? {
        if entry.pointee.state.contains(.accepting) { return attemptAccept(entry) }
        guard entry.pointee.state.contains(.receiving) else { return nil }
        return attemptReceive(entry)
    }

    private func attemptReceive(_ entry: UnsafeMutablePointer<UringEntry>) -> Completion? {
        guard let memory = hotBuffer else { return nil }
        let token = entry.pointee.token
        let count = mr_recv(entry.pointee.descriptor, memory, Int(Self.bufferSize))
        if count > 0 {
            let isRepeated = !entry.pointee.state.isDisjoint(with: [.untilEmpty, .isUnix])
            if count == Int(Self.bufferSize) || isRepeated { queueLaterTry(entry) }
            return Completion(token, .received(UnsafeRawPointer(memory), count: count))
        }
        switch CInt(-count) {
        case 0: return endPolled(entry)
        case EAGAIN: entry.pointee.state.remove(.untilEmpty)
        case EINTR: queueLaterTry(entry)
        case let number:
            return lastWord(entry, .failed(.receive, SystemError(number, "recv")))
        }
        return nil
    }

    /// The end of a stream whose socket is over altogether may come of an error that a send in
    /// flight has taken: its answer is waited for, which comes at once.
    private func endPolled(_ entry: UnsafeMutablePointer<UringEntry>) -> Completion? {
        let descriptor = entry.pointee.descriptor
        guard entry.pointee.state.contains(.sendArmed), mr_has_hung_up(descriptor) != 0 else {
            return lastWord(entry, entry.pointee.sendError.endOfStream)
        }
        queueLaterTry(entry)
        return nil
    }

    private func attemptAccept(_ entry: UnsafeMutablePointer<UringEntry>) -> Completion? {
        guard acceptsLeft > 0 else {
            queueLaterTry(entry)
            return nil
        }
        while true {
            let number = peerName.accept(on: entry.pointee.descriptor)
            if number >= 0 {
                acceptsLeft -= 1
                // Behind what else is ready, which has its turn before the next connection.
                queueTry(entry)
                return Completion(entry.pointee.token, .accepted(Descriptor(number)))
            }
            switch AcceptError(errno) {
            case .nobodyWaits: return nil
            case .passing: continue
            case .lasting(let error): return lastWord(entry, .failed(.accept, error))
            }
        }
    }

    // MARK: Hang-ups

    func startWatching(_ entry: UnsafeMutablePointer<UringEntry>) {
        entry.pointee.state.insert(.watched)
        guard !entry.pointee.state.contains(.watchArmed) else {
            // Armed before: it may have reported the hang-up when nobody was to be told.
            return mr_has_hung_up(entry.pointee.descriptor) != 0 ? answerHungUp(entry) : ()
        }
        mr_prepare_poll(
            submission(), entry.pointee.descriptor, 0,
            UringKind.watch.userData(entry.pointee.token))
        entry.pointee.state.insert(.watchArmed)
        inFlight += 1
    }

    func completeWatch(_ token: Token, _ result: Int32, _ flags: UInt32) -> Completion? {
        let more = flags & UInt32(MR_CQE_MORE) != 0
        if !more { inFlight -= 1 }
        guard let entry = entries.find(token) else { return stale(0) }
        if !more { entry.pointee.state.remove(.watchArmed) }
        if entry.pointee.state.contains(.closing) {
            closeIfIdle(entry)
            return nil
        }
        guard entry.pointee.state.contains(.watched) else { return nil }
        guard result > 0 && result & Self.hangUpEvents != 0 else {
            // The peer's end, which is no hang-up, or the kernel gave the poll up.
            if !more { startWatching(entry) }
            return nil
        }
        entry.pointee.state.remove(.watched)
        return Completion(token, .hungUp(mr_take_error(entry.pointee.descriptor)))
    }

    private func answerHungUp(_ entry: UnsafeMutablePointer<UringEntry>) {
        entry.pointee.state.remove(.watched)
        answer(entry.pointee.token, .hungUp(mr_take_error(entry.pointee.descriptor)))
    }
}
