import CMillraceLinux
import Glibc

/// A socket for single messages to another program's Unix datagram socket, without a loop. Messages
/// need no further descriptor. It is not connected, so the receiver may bind its name anew.
package final class UnixMessageSocket: Sendable {
    private let descriptor: CInt
    private static let longestWaitSeconds = 1

    package init() throws(SystemError) {
        descriptor = socket(AF_UNIX, CInt(MR_SOCK_DGRAM | MR_SOCK_CLOEXEC), 0)
        guard descriptor >= 0 else { throw SystemError(errno, "socket") }
        var limit = timeval(tv_sec: Self.longestWaitSeconds, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
    }

    deinit { close(descriptor) }

    /// Sends one datagram, from any thread. If the receiver's queue is full, waits for it for up to
    /// a second; unless `waits`, throws EAGAIN at once.
    package func send(
        _ text: String, to address: SocketAddress, waits: Bool
    ) throws(SystemError) {
        let flags = CInt(MR_MSG_NOSIGNAL | (waits ? 0 : MR_MSG_DONTWAIT))
        let bytes = Array(text.utf8)
        let number = try address.withKernelForm { name, length in
            while true {
                let count = sendto(descriptor, bytes, bytes.count, flags, name, length)
                if count >= 0 { return CInt(0) }
                if errno != EINTR { return errno }
            }
        }
        guard number == 0 else { throw SystemError(number, "sendto") }
    }
}
