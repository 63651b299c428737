internal import CMillraceLinux
internal import CMillraceURing
import Glibc
internal import MillraceEventLoop

/// Polling, for operations that must be bounded: a multishot poll, and one accept4(2) or recv(2)
/// per event.
///
/// Listeners are polled on every kernel: a multishot accept empties the backlog, however busy the
/// loop is. Streams are polled where the kernel refuses to limit a multishot receive (before Linux
/// 6.17). Without a limit, a cancelled receive fills every buffer of the ring, and nothing bounds
/// the bytes that must be kept. They are also polled where the kernel loses ends (before the fix of
/// March 2026).
///
/// Elsewhere a stream is polled while its messages are large. The ring would fill one buffer after
/// the other, which the cache has lost, and recv(2) fills the same one each time. Small messages
/// come by the ring, which receives them without a call. A stream changes at a receive of
/// `largeReceive` bytes that ends by its limit, and back at one below `smallReceive`.
///
/// A multishot poll reports each event once. A try that may have left something behind is repeated
/// after the next wait, even without another event.
extension UringDriver {
    private static let pollEvents = UInt32(MR_POLLIN | MR_POLLPRI)
    /// Events after which a short receive does not mean that the socket is empty.
    private static let specialEvents =
        CInt(MR_POLLPRI) | CInt(MR_POLLRDHUP) | CInt(MR_POLLERR) | CInt(MR_POLLHUP)
    private static let hangUpEvents = CInt(MR_POLLERR) | CInt(MR_POLLHUP)
    static let largeReceive = 16_384
    private static let smallReceive = 1_024

    /// Starts polling for a stream. A new poll reports input that is already there. An armed poll
    /// may have reported it before the stream started, so a try is queued.
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

    /// Queues a try for this turn, after the completions that are ready.
    private func queueTry(_ entry: UnsafeMutablePointer<UringEntry>) {
        guard !entry.pointee.state.contains(.tryQueued) else { return }
        entry.pointee.state.insert(.tryQueued)
        ready.append(.attempt(entry.pointee.token))
    }

    /// Queues a try for the turn after the next wait, which then does not block.
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
        guard entry.pointee.state.contains(.accepting) || entry.pointee.state.isPolled else {
            // Paused, or received by the ring: each further packet would wake the loop for nothing.
            if more { cancel(.cancelPoll, entry) }
            return nil
        }
        if !more { armPoll(entry) }
        if result > 0 && result & Self.specialEvents != 0 {
            entry.pointee.state.insert(.untilEmpty)
        }
        return attempt(entry)
    }

    /// Runs a queued try. Returns nil if there is no completion.
    func attempt(_ token: Token) -> Completion? {
        guard let entry = entries.find(token) else { return nil }
        entry.pointee.state.remove(.tryQueued)
        return attempt(entry)
    }

    private func attempt(_ entry: UnsafeMutablePointer<UringEntry>) -> Completion? {
        if entry.pointee.state.contains(.accepting) { return attemptAccept(entry) }
        guard entry.pointee.state.isPolled else { return nil }
        return attemptReceive(entry)
    }

    private func attemptReceive(_ entry: UnsafeMutablePointer<UringEntry>) -> Completion? {
        guard let memory = hotBuffer.memory.baseAddress else { return nil }
        let token = entry.pointee.token
        let count = mr_recv(entry.pointee.descriptor, memory, Int(Self.bufferSize))
        if count > 0 {
            let isRepeated = !entry.pointee.state.isDisjoint(with: [.untilEmpty, .isUnix])
            if limitsReceives && count < Self.smallReceive {
                receiveByRing(entry)
            } else if count == Int(Self.bufferSize) || isRepeated {
                queueLaterTry(entry)
            }
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

    /// Ends the polling of a stream with small messages. The next wait arms its receive, which
    /// finds everything that is left: bytes, an end, an error.
    private func receiveByRing(_ entry: UnsafeMutablePointer<UringEntry>) {
        entry.pointee.state.remove(.untilEmpty)
        if entry.pointee.state.contains(.pollArmed) { cancel(.cancelPoll, entry) }
        queueForBuffer(entry)
    }

    /// Handles the end of a polled stream. If the socket has hung up and a send is in flight, that
    /// send may have cleared the error behind the end. The end then waits for the send's
    /// completion, which comes at once.
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
                // Other ready completions are delivered before the next connection.
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
            // The armed poll may have reported the hang-up while the socket was not watched.
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
            // POLLRDHUP, which is no hang-up, or the kernel has ended the poll.
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
