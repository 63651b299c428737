internal import CMillraceLinux
internal import CMillraceURing
import Glibc
package import MillraceEventLoop

/// Turns the loop's operations into submissions.
extension UringDriver {
    package func submit(_ operation: Operation, for token: Token) {
        guard let entry = entries.find(token) else { return }
        switch operation {
        case .send(let bytes):
            precondition(!entry.pointee.state.contains(.sendArmed), "two sends in flight")
            if let error = entry.pointee.sendError.take() {
                refreshReceive(entry)
                return answer(token, .failed(.send, error))
            }
            prepareSend(
                entry, bytes.baseAddress, min(bytes.count, Self.largestSend), submission())
        case .receive:
            entry.pointee.state.insert(.receiving)
            entry.pointee.state.remove(.watched)
            // A stream that was polled before a pause goes on so.
            let isPolled = !limitsReceives || entry.pointee.state.contains(.pollArmed)
            if isPolled { startPolling(entry) } else { armReceive(entry) }
        case .accept:
            entry.pointee.state.insert(.accepting)
            startPolling(entry)
        case .watch: startWatching(entry)
        case .receiveDatagrams:
            entry.pointee.state.insert(.receivingDatagrams)
            armDatagrams(entry)
        case .connect(let address, let length): prepareConnect(entry, address, length)
        case .stop(let kind): stop(entry, kind)
        // IORING_OP_SHUTDOWN would run on a worker thread.
        case .shutdownWrite: Glibc.shutdown(entry.pointee.descriptor, CInt(MR_SHUT_WR))
        case .close: close(entry)
        }
    }

    package func send(_ bytes: UnsafeRawPointer, _ count: Int, for token: Token) -> Bool {
        guard count < Self.largeSend, let entry = entries.find(token),
            entry.pointee.sendError.isNone, !entry.pointee.state.contains(.sendArmed),
            let submission = mr_submission(ring)
        else { return sendSlow(UnsafeRawBufferPointer(start: bytes, count: count), token) }
        prepareSend(entry, bytes, count, submission)
        return false
    }

    /// Sends a large piece by send(2), and any other through the ring. send(2) copies the bytes
    /// while they are in the cache, and their memory can be reused at once. That gains more than
    /// the kernel entry costs.
    @inline(never)
    private func sendSlow(_ bytes: UnsafeRawBufferPointer, _ token: Token) -> Bool {
        let count = bytes.count < Self.largeSend ? 0 : trySend(bytes, for: token)
        if count == bytes.count { return true }
        if count > 0 {
            answer(token, .sent(count))
        } else {
            submit(.send(bytes), for: token)
        }
        return false
    }

    package func trySend(_ bytes: UnsafeRawBufferPointer, for token: Token) -> Int {
        guard let entry = entries.find(token), entry.pointee.sendError.isNone else { return 0 }
        precondition(!entry.pointee.state.contains(.sendArmed), "two sends in flight")
        let count = Glibc.send(
            entry.pointee.descriptor, bytes.baseAddress, bytes.count,
            CInt(MSG_NOSIGNAL | MSG_DONTWAIT))
        let number = errno
        if count < 0 && number != EAGAIN && number != EINTR { entry.pointee.sendError.note(number) }
        return max(0, count)
    }

    func armWaker() {
        guard let eventWaker else { return }
        mr_prepare_poll(
            submission(), eventWaker.descriptor, UInt32(MR_POLLIN),
            UringKind.waker.userData(Token(slot: 0, generation: 0)))
        inFlight += 1
    }

    func armReceive(_ entry: UnsafeMutablePointer<UringEntry>) {
        mr_prepare_receive(
            submission(), entry.pointee.descriptor, Self.bufferSize,
            UringKind.receive.userData(entry.pointee.token))
        entry.pointee.state.insert(.receiveArmed)
        inFlight += 1
    }

    private func prepareConnect(
        _ entry: UnsafeMutablePointer<UringEntry>, _ address: UnsafeRawPointer, _ length: UInt32
    ) {
        // The ring would block a worker thread until a full backlog has room. connect(2) on a Unix
        // socket returns at once.
        if address.loadUnaligned(as: sa_family_t.self) == sa_family_t(AF_UNIX) {
            let result = connect(
                entry.pointee.descriptor, address.assumingMemoryBound(to: sockaddr.self),
                socklen_t(length))
            let event: Event =
                result == 0 ? .connected : .failed(.connect, SystemError(errno, "connect"))
            return answer(entry.pointee.token, event)
        }
        mr_prepare_connect(
            submission(), entry.pointee.descriptor, address, length,
            UringKind.connect.userData(entry.pointee.token))
        entry.pointee.state.insert(.connectArmed)
        inFlight += 1
    }

    @inline(__always)
    private func prepareSend(
        _ entry: UnsafeMutablePointer<UringEntry>, _ bytes: UnsafeRawPointer?, _ count: Int,
        _ submission: UnsafeMutablePointer<io_uring_sqe>
    ) {
        mr_prepare_send(
            submission, entry.pointee.descriptor, bytes, count,
            UringKind.send.userData(entry.pointee.token))
        entry.pointee.state.insert(.sendArmed)
        inFlight &+= 1
    }

    /// Stops a stream, unless its end is already queued: that end is then its last completion.
    private func stop(_ entry: UnsafeMutablePointer<UringEntry>, _ kind: StreamKind) {
        let state = entry.pointee.state
        guard state.contains(.running(kind)) else { return }
        entry.pointee.state.insert(.stopping)
        if kind == .receive && state.contains(.receiveArmed) {
            cancel(.cancelReceive, entry)
        } else if kind == .datagrams && state.contains(.datagramsArmed) {
            cancel(.cancelDatagrams, entry)
        } else {
            stopped(entry, kind)
        }
    }

    /// Ends a stream at the loop's request, with `stopped`.
    func stopped(_ entry: UnsafeMutablePointer<UringEntry>, _ kind: StreamKind) {
        entry.pointee.state.subtract([.stopping, .starved, .running(kind)])
        answer(entry.pointee.token, .stopped(kind))
    }

    private static let cancellations: [(armed: UringState, cancel: UringKind)] = [
        (.receiveArmed, .cancelReceive), (.sendArmed, .cancelSend), (.pollArmed, .cancelPoll),
        (.datagramsArmed, .cancelDatagrams), (.connectArmed, .cancelConnect),
        (.watchArmed, .cancelWatch),
    ]

    private func close(_ entry: UnsafeMutablePointer<UringEntry>) {
        let state = entry.pointee.state
        entry.pointee.state = state.intersection(.inFlight).union(.closing)
        for kind in Self.cancellations where state.contains(kind.armed) {
            cancel(kind.cancel, entry)
        }
        closeIfIdle(entry)
    }

    /// Closes the descriptor when no operation is in flight. After an earlier close, a receive
    /// would continue although the descriptor's number may belong to another file. The peer would
    /// not see the end.
    func closeIfIdle(_ entry: UnsafeMutablePointer<UringEntry>) {
        guard entry.pointee.state == [.closing] else { return }
        Glibc.close(entry.pointee.descriptor)
        answer(entry.pointee.token, .closed)
        entries.detach(entry)
    }

    func cancel(_ kind: UringKind, _ entry: UnsafeMutablePointer<UringEntry>) {
        guard let target = kind.target?.kind else { return }
        let token = entry.pointee.token
        mr_prepare_cancel(submission(), target.userData(token), kind.userData(token))
    }

    /// Queues a completion that needs no kernel operation.
    @inline(__always)
    func answer(_ token: Token, _ event: Event) {
        ready.append(.completion(Completion(token, event)))
    }
}
