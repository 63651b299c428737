import CLinux
internal import EventLoop
import Glibc

/// What goes out: tried at once, and again when the socket has room.
extension EpollDriver {
    /// True if the socket took everything at once. If not, the bytes are pending.
    @inline(__always)
    func take(
        _ bytes: UnsafeRawPointer, _ count: Int, _ entry: UnsafeMutablePointer<EpollEntry>
    ) -> Bool {
        precondition(entry.pointee.pendingSend == nil, "two sends in flight")
        var result = -Int(EAGAIN)
        // After a short send the socket is full: trying again at once would be a wasted call.
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

    /// Tries again what is pending; nil if the socket takes nothing now.
    func completeSend(
        _ entry: UnsafeMutablePointer<EpollEntry>, _ token: Token
    ) -> Completion? {
        sendCompletion(
            entry, token,
            mr_send(
                entry.pointee.descriptor, entry.pointee.pendingSend, entry.pointee.pendingCount))
    }

    /// What a send of the pending bytes has come to.
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
        // Full, it is likely to have more to send, and asks for room in any case.
        if entry.pointee.interest & UInt32(MR_EPOLLOUT) != 0 && !entry.pointee.isFull {
            register(entry, token)
        }
        if result >= 0 { return Completion(token, .sent(result)) }
        entry.pointee.sendError.noteTold(Int32(-result))
        return Completion(token, .failed(.send, SystemError(Int32(-result), "send")))
    }
}
