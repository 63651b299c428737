internal import CMillraceURing
import Glibc
internal import MillraceEventLoop

/// Turns the kernel's completions into completions for the loop, operation by operation.
///
/// A multishot operation ends with a completion without IORING_CQE_F_MORE, for any result. Whether
/// the operation is armed again depends on the result and on the loop's requests by then.
extension UringDriver {
    /// Returns the input of an open connection whose receive stays armed, and marks it as seen.
    /// Returns nil for any other completion.
    @inline(__always)
    func plainReceive(_ answer: UnsafePointer<io_uring_cqe>, _ token: Token) -> Completion? {
        let (result, flags) = (answer.pointee.res, answer.pointee.flags)
        // The order is deliberate: the compiler would join two adjacent tests to a longer one.
        guard result > 0, let entry = entries.find(token), flags & UInt32(MR_CQE_MORE) != 0,
            !entry.pointee.state.contains(.closing)
        else { return nil }
        mr_seen(ring)
        return received(token, result, flags)
    }

    /// Returns the `sent` of an open connection, and marks it as seen. Returns nil for any other
    /// completion.
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

    /// Handles a completion of any kind. Returns nil if the loop need not see it.
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
            let completion = received(token, result, flags)
            if !more { receiveEnded(entry, Int(result)) }
            return completion
        }
        giveBack(flags)
        guard !more else { return nil }
        switch -result {
        case 0: return lastWord(entry, entry.pointee.sendError.endOfStream)
        case ENOBUFS: receiveStarved(entry)
        case EINTR, EAGAIN: interrupted(entry, .receive)
        // Cancelled in order to stop the stream or to arm the receive again.
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

    /// Continues a stream whose operation the kernel has ended, or ends it if the loop has stopped
    /// it.
    func interrupted(_ entry: UnsafeMutablePointer<UringEntry>, _ kind: StreamKind) {
        if entry.pointee.state.contains(.stopping) { return stopped(entry, kind) }
        if kind == .datagrams { return armDatagrams(entry) }
        // The stream queues behind those that already wait for a buffer.
        if starved.isEmpty { armReceive(entry) } else { queueForBuffer(entry) }
    }

    /// Called when a receive ended by its limit or for lack of a buffer. The next wait arms it
    /// again, after the loop has seen these bytes. The loop may stop the stream because of them,
    /// and an armed receive would still deliver bytes after that.
    private func receiveEnded(_ entry: UnsafeMutablePointer<UringEntry>, _ count: Int) {
        if entry.pointee.state.contains(.stopping) { return stopped(entry, .receive) }
        if count >= Self.largeReceive { startPolling(entry) } else { queueForBuffer(entry) }
    }

    private func receiveStarved(_ entry: UnsafeMutablePointer<UringEntry>) {
        counters.bufferStarvations.add()
        receiveEnded(entry, 0)
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
        // No byte was sent; the loop sends them again.
        if -result == EINTR || -result == EAGAIN { return Completion(token, .sent(0)) }
        entry.pointee.sendError.noteTold(-result)
        refreshReceive(entry)
        return Completion(token, .failed(.send, SystemError(-result, "send")))
    }

    /// Called after a failed send, which has cleared the socket's error. A waiting multishot
    /// operation may have missed the end that came with that error (10 of 1,500 resets without the
    /// fix of CVE-2026-23473). Nothing would wake it again. A receive that is armed again, or
    /// tried, sees the end.
    func refreshReceive(_ entry: UnsafeMutablePointer<UringEntry>) {
        guard entry.pointee.state.contains(.receiving) else { return }
        if entry.pointee.state.contains(.receiveArmed) {
            cancel(.cancelReceive, entry)
        } else if entry.pointee.state.isPolled {
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

    // MARK: Other completions

    private func completeWakeUp(_ flags: UInt32) {
        eventWaker?.reset()
        guard flags & UInt32(MR_CQE_MORE) == 0 else { return }
        inFlight -= 1
        armWaker()
    }

    /// Repeats each cancellation whose target was not found, once per wait, until the target
    /// completes. The target has ended already, or the kernel was about to resume it; only its
    /// completion shows which. Repeats without a wait might never end: with a full queue, the
    /// answer can come before the kernel has done any other work.
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

    /// Counts a completion for a closed token, and returns its buffer to the ring.
    func stale(_ flags: UInt32) -> Completion? {
        counters.staleCompletions.add()
        giveBack(flags)
        return nil
    }
}
