import Glibc
internal import MillraceEventLoop

/// Connecting: a connect starts at once, and completes on EPOLLOUT, EPOLLHUP or EPOLLERR.
extension EpollDriver {
    func startConnecting(
        _ entry: UnsafeMutablePointer<EpollEntry>, _ address: UnsafeRawPointer, _ length: UInt32
    ) {
        let token = entry.pointee.token
        let result = connect(
            entry.pointee.descriptor, address.assumingMemoryBound(to: sockaddr.self),
            socklen_t(length))
        if result == 0 {
            ready.append(Completion(token, .connected))
        } else if errno == EINPROGRESS || errno == EINTR {
            entry.pointee.isConnecting = true
        } else {
            ready.append(Completion(token, .failed(.connect, SystemError(errno, "connect"))))
        }
    }

    func finishConnecting(
        _ entry: UnsafeMutablePointer<EpollEntry>, _ token: Token
    ) -> Completion {
        entry.pointee.isConnecting = false
        register(entry, token)
        var number: CInt = 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        getsockopt(entry.pointee.descriptor, SOL_SOCKET, SO_ERROR, &number, &size)
        guard number != 0 else { return Completion(token, .connected) }
        return Completion(token, .failed(.connect, SystemError(number, "connect")))
    }
}
