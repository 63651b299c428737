import CMillraceLinux
import Glibc
internal import MillraceEventLoop

/// Sending: each send is tried at once, and again when the socket has room.
extension EpollDriver {
    /// Sends at once. Returns true if the socket accepted all bytes; otherwise a completion
    /// follows.
    @inline(__always)
    func take(
        _ bytes: UnsafeRawPointer, _ count: Int, _ entry: UnsafeMutablePointer<EpollEntry>
    ) -> Bool {
        precondition(entry.pointee.pendingSend == nil, "two sends in flight")
        var result = -Int(EAGAIN)
        // After a short send the socket is full: another try at once would waste a call.
        if !entry.pointee.isFull {
            result = mr_send(entry.pointee.descriptor, bytes, count)
            if result == count { return true }
        }
        sendLater(bytes, count, entry, result)
        return false
    }

    @inline(never)
    private func sendLater(
        _ bytes: UnsafeRawPointer, _ count: Int, _ entry: UnsafeMutablePointer<EpollEntry>,
        _ result: Int
    ) {
        entry.pointee.pendingSend = bytes
        entry.pointee.pendingCount = count
        let token = entry.pointee.token
        let result = entry.pointee.sendError.take().map { -Int($0.number) } ?? result
        if let completion = sendCompletion(entry, token, result) { ready.append(completion) }
        register(entry, token)
    }

    /// Sends the pending bytes again. Returns nil if the socket has no room.
    func completeSend(
        _ entry: UnsafeMutablePointer<EpollEntry>, _ token: Token
    ) -> Completion? {
        sendCompletion(
            entry, token,
            mr_send(
                entry.pointee.descriptor, entry.pointee.pendingSend, entry.pointee.pendingCount))
    }

    /// Returns the completion for a send's result, or nil if the socket has no room (EAGAIN).
    private func sendCompletion(
        _ entry: UnsafeMutablePointer<EpollEntry>, _ token: Token, _ result: Int
    ) -> Completion? {
        var result = result
        while result == -Int(EINTR) {
            result = mr_send(
                entry.pointee.descriptor, entry.pointee.pendingSend, entry.pointee.pendingCount)
        }
        if result == -Int(EAGAIN) {
            entry.pointee.isFull = true
            return nil
        }
        entry.pointee.pendingSend = nil
        entry.pointee.isFull = result >= 0 && result < entry.pointee.pendingCount
        // A full socket keeps EPOLLOUT: its next send is likely, and would need it again.
        if entry.pointee.interest & UInt32(MR_EPOLLOUT) != 0 && !entry.pointee.isFull {
            register(entry, token)
        }
        if result >= 0 { return Completion(token, .sent(result)) }
        entry.pointee.sendError.noteTold(Int32(-result))
        return Completion(token, .failed(.send, SystemError(Int32(-result), "send")))
    }
}
