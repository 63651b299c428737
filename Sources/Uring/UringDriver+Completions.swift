internal import CURing
internal import EventLoop
import Glibc

/// What the kernel answers, operation by operation, as completions of the seam.
///
/// A multishot operation is over when a completion says that no more follow, whatever its result
/// says; whether it is armed again depends on the result and on what the loop wants by then.
extension UringDriver {
    /// Input of an open connection, with more to follow: seen, and told. Nil for anything else.
    @inline(__always)
    func plainReceive(_ answer: UnsafePointer<io_uring_cqe>, _ token: Token) -> Completion? {
        let (result, flags) = (answer.pointee.res, answer.pointee.flags)
        // In this order: two tests side by side would be joined to a longer one.
        guard result > 0, let entry = entries.find(token), flags & UInt32(MR_CQE_MORE) != 0,
            !entry.pointee.state.contains(.closing)
        else { return nil }
        mr_seen(ring)
        return received(token, result, flags)
    }

    /// Bytes of an open connection that have gone: seen, and told. Nil for anything else.
    @inline(__always)
    func plainSend(_ answer: UnsafePointer<io_uring_cqe>, _ token: Token) -> Completion? {
        let result = answer.pointee.res
        guard result > 0, let entry = entries.find(token),
            !entry.pointee.state.contains(.closing)
        else { return nil }
        mr_seen(ring)
        inFlight &-= 1
        entry.pointee.state.subtract(.sendArmed)
        return Completion(token, .sent(Int(result)))
    }

    /// Nil if the loop need not hear of it.
    func complete(_ userData: UInt64, _ result: Int32, _ flags: UInt32) -> Completion? {
        let (token, kind) = UringKind.split(userData)
        switch UringKind(rawValue: kind) {
        case .receive: return completeReceive(token, result, flags)
        case .send: return completeSend(token, result)
        case .accept: return completeAccept(token, result, flags)
        case .datagrams: return completeDatagram(token, result, flags)
        case .connect: return completeConnect(token, result)
        case .waker: completeWakeUp(flags)
        case let cancel?:
            if let armed = cancel.target?.armed { cancelFailed(token, armed, cancel) }
        case nil: break
        }
        return nil
    }

    // MARK: Receive

    @inline(__always)
    private func received(_ token: Token, _ result: Int32, _ flags: UInt32) -> Completion {
        let index = flags >> UInt32(MR_CQE_BUFFER_SHIFT)
        lentBuffer = Int32(bitPattern: index)
        return Completion(
            token, .received(mr_buffer(ring, index), count: Int(result)))
    }

    private func completeReceive(
        _ token: Token, _ result: Int32, _ flags: UInt32
    ) -> Completion? {
        let more = flags & UInt32(MR_CQE_MORE) != 0
        if !more { inFlight -= 1 }
        guard let entry = entries.find(token) else { return stale(flags) }
        let wasLimited = entry.pointee.state.contains(.limited)
        if !more { entry.pointee.state.subtract([.receiveArmed, .limited]) }
        if entry.pointee.state.contains(.closing) {
            giveBack(flags)
            closeIfIdle(entry)
            return nil
        }
        if result > 0 {
            // Before anything is submitted: that may enter the kernel.
            let completion = received(token, result, flags)
            if !more { interrupted(entry, .receive) }
            return completion
        }
        giveBack(flags)
        guard !more else { return nil }
        switch -result {
        case 0: return lastWord(entry, .endOfStream)
        case ENOBUFS: receiveStarved(entry)
        case EINTR, EAGAIN: interrupted(entry, .receive)
        case EINVAL where wasLimited:
            // Many may have been handed over with a limit before the first refusal came.
            receiveLimit = 0
            interrupted(entry, .receive)
        case ECANCELED where entry.pointee.state.contains(.stopping): stopped(entry, .receive)
        default:
            return lastWord(entry, .failed(.receive, SystemError(-result, "recv")))
        }
        return nil
    }

    func lastWord(
        _ entry: UnsafeMutablePointer<UringEntry>, _ event: Event
    ) -> Completion {
        entry.pointee.state.subtract([.receiving, .accepting, .receivingDatagrams, .stopping])
        return Completion(entry.pointee.token, event)
    }

    /// The kernel ended the operation, but not the stream.
    func interrupted(_ entry: UnsafeMutablePointer<UringEntry>, _ kind: StreamKind) {
        if entry.pointee.state.contains(.stopping) { return stopped(entry, kind) }
        switch kind {
        case .accept: armAccept(entry)
        case .datagrams: armDatagrams(entry)
        // Behind those who wait for a buffer already.
        case .receive: if starved.isEmpty { armReceive(entry) } else { queueForBuffer(entry) }
        }
    }

    private func receiveStarved(_ entry: UnsafeMutablePointer<UringEntry>) {
        counters.bufferStarvations.add()
        if entry.pointee.state.contains(.stopping) { return stopped(entry, .receive) }
        queueForBuffer(entry)
    }

    func queueForBuffer(_ entry: UnsafeMutablePointer<UringEntry>) {
        entry.pointee.state.insert(.starved)
        starved.append(entry.pointee.token)
    }

    // MARK: Send

    private func completeSend(_ token: Token, _ result: Int32) -> Completion? {
        inFlight -= 1
        guard let entry = entries.find(token) else { return stale(0) }
        entry.pointee.state.remove(.sendArmed)
        if entry.pointee.state.contains(.closing) {
            closeIfIdle(entry)
            return nil
        }
        if result >= 0 { return Completion(token, .sent(Int(result))) }
        // Nothing was taken; the loop offers it again.
        if -result == EINTR || -result == EAGAIN { return Completion(token, .sent(0)) }
        return Completion(token, .failed(.send, SystemError(-result, "send")))
    }

    // MARK: Accept

    private func completeAccept(
        _ token: Token, _ result: Int32, _ flags: UInt32
    ) -> Completion? {
        let more = flags & UInt32(MR_CQE_MORE) != 0
        if !more { inFlight -= 1 }
        guard let entry = entries.find(token) else {
            if result >= 0 { Glibc.close(result) }
            return stale(0)
        }
        if !more { entry.pointee.state.remove(.acceptArmed) }
        if entry.pointee.state.contains(.closing) {
            // A connection that was accepted too late would leak.
            if result >= 0 { Glibc.close(result) }
            closeIfIdle(entry)
            return nil
        }
        if result >= 0 {
            if !more { interrupted(entry, .accept) }
            return Completion(token, .accepted(Descriptor(result)))
        }
        guard !more else { return nil }
        if entry.pointee.state.contains(.stopping) {
            stopped(entry, .accept)
            return nil
        }
        guard case .lasting(let error) = AcceptError(-result) else {
            armAccept(entry)
            return nil
        }
        return lastWord(entry, .failed(.accept, error))
    }

    // MARK: Connect

    private func completeConnect(_ token: Token, _ result: Int32) -> Completion? {
        inFlight -= 1
        guard let entry = entries.find(token) else { return stale(0) }
        entry.pointee.state.remove(.connectArmed)
        if entry.pointee.state.contains(.closing) {
            closeIfIdle(entry)
            return nil
        }
        if result == 0 { return Completion(token, .connected) }
        return Completion(token, .failed(.connect, SystemError(-result, "connect")))
    }

    // MARK: The others

    private func completeWakeUp(_ flags: UInt32) {
        eventWaker.reset()
        guard flags & UInt32(MR_CQE_MORE) == 0 else { return }
        inFlight -= 1
        armWaker()
    }

    /// The target was not found: it has ended already, or the kernel was about to take it up again.
    /// Its own completion tells which; as long as that has not come, it is asked again.
    private func cancelFailed(_ token: Token, _ armed: UringState, _ kind: UringKind) {
        guard let entry = entries.find(token), entry.pointee.state.contains(armed),
            !entry.pointee.state.isDisjoint(with: [.stopping, .closing])
        else { return }
        cancel(kind, entry)
    }

    /// A completion of a life that is over: its buffer must not be lost.
    func stale(_ flags: UInt32) -> Completion? {
        counters.staleCompletions.add()
        giveBack(flags)
        return nil
    }
}
