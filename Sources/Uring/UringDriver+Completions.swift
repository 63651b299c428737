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
        case .poll: return completePoll(token, result, flags)
        case .watch: return completeWatch(token, result, flags)
        case .datagrams: return completeDatagram(token, result, flags)
        case .connect: return completeConnect(token, result)
        case .waker: completeWakeUp(flags)
        case let cancel?: failedCancels.append((token, cancel))
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
        if !more { entry.pointee.state.remove(.receiveArmed) }
        if entry.pointee.state.contains(.closing) {
            giveBack(flags)
            closeIfIdle(entry)
            return nil
        }
        if result > 0 {
            // Before anything is submitted: that may enter the kernel.
            let completion = received(token, result, flags)
            if !more { receiveEnded(entry) }
            return completion
        }
        giveBack(flags)
        guard !more else { return nil }
        switch -result {
        case 0: return lastWord(entry, entry.pointee.sendError.endOfStream)
        case ENOBUFS: receiveStarved(entry)
        case EINTR, EAGAIN: interrupted(entry, .receive)
        // Cancelled to be stopped, or to be armed afresh.
        case ECANCELED: interrupted(entry, .receive)
        default:
            return lastWord(entry, .failed(.receive, SystemError(-result, "recv")))
        }
        return nil
    }

    func lastWord(
        _ entry: UnsafeMutablePointer<UringEntry>, _ event: Event
    ) -> Completion {
        entry.pointee.state.subtract([
            .receiving, .accepting, .receivingDatagrams, .stopping, .untilEmpty,
        ])
        return Completion(entry.pointee.token, event)
    }

    /// The kernel ended the operation, but not the stream.
    func interrupted(_ entry: UnsafeMutablePointer<UringEntry>, _ kind: StreamKind) {
        if entry.pointee.state.contains(.stopping) { return stopped(entry, kind) }
        if kind == .datagrams { return armDatagrams(entry) }
        // Behind those that wait for a buffer already.
        if starved.isEmpty { armReceive(entry) } else { queueForBuffer(entry) }
    }

    /// By its limit, or for lack of a buffer. Armed by the next wait, when the loop has seen these
    /// bytes: what it makes of them may be a stop, and bytes of a receive that is armed already
    /// would still come after it.
    private func receiveEnded(_ entry: UnsafeMutablePointer<UringEntry>) {
        if entry.pointee.state.contains(.stopping) { return stopped(entry, .receive) }
        queueForBuffer(entry)
    }

    private func receiveStarved(_ entry: UnsafeMutablePointer<UringEntry>) {
        counters.bufferStarvations.add()
        receiveEnded(entry)
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
        entry.pointee.sendError.noteTold(-result)
        refreshReceive(entry)
        return Completion(token, .failed(.send, SystemError(-result, "send")))
    }

    /// After a failed send, which has taken the socket's error. A multishot operation that waits
    /// may have missed the end that came with it (CVE-2026-23473; 10 of 1,500 resets on Linux
    /// 6.18), and nothing would wake it again: armed afresh, or tried, it sees what is there.
    func refreshReceive(_ entry: UnsafeMutablePointer<UringEntry>) {
        guard entry.pointee.state.contains(.receiving) else { return }
        if entry.pointee.state.contains(.receiveArmed) {
            cancel(.cancelReceive, entry)
        } else if !limitsReceives {
            entry.pointee.state.insert(.untilEmpty)
            queueLaterTry(entry)
        }
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
        eventWaker?.reset()
        guard flags & UInt32(MR_CQE_MORE) == 0 else { return }
        inFlight -= 1
        armWaker()
    }

    /// Of each cancellation whose target was not found: it has ended already, or the kernel was
    /// about to take it up again. The target's own completion tells which; as long as that has not
    /// come, it is asked again, once for each wait. At once, with a full queue, the answer could
    /// come before the kernel has worked at anything else, and again, without end.
    func repeatFailedCancels() {
        var left = failedCancels.count
        while left > 0, let (token, kind) = failedCancels.popFirst() {
            left -= 1
            guard let entry = entries.find(token), let armed = kind.target?.armed,
                entry.pointee.state.contains(armed), isCancelDue(kind, entry.pointee.state)
            else { continue }
            cancel(kind, entry)
        }
    }

    private func isCancelDue(_ kind: UringKind, _ state: UringState) -> Bool {
        if state.contains(.closing) { return true }
        return (kind == .cancelReceive || kind == .cancelDatagrams) && state.contains(.stopping)
    }

    /// A completion of a life that is over: its buffer must not be lost.
    func stale(_ flags: UInt32) -> Completion? {
        counters.staleCompletions.add()
        giveBack(flags)
        return nil
    }
}
