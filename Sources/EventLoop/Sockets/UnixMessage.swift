import CMillraceLinux
import Glibc

/// Single messages to another program's Unix datagram socket, without a loop.
package enum UnixMessage {
    /// Sends one datagram. If the receiver's queue is full, waits for it up to this many seconds;
    /// with 0 it throws EAGAIN at once.
    package static func send(
        _ text: String, to address: SocketAddress, waitingSeconds: Int
    ) throws(SystemError) {
        let descriptor = socket(AF_UNIX, CInt(MR_SOCK_DGRAM | MR_SOCK_CLOEXEC), 0)
        guard descriptor >= 0 else { throw SystemError(errno, "socket") }
        defer { close(descriptor) }
        var limit = timeval(tv_sec: waitingSeconds, tv_usec: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let flags = CInt(MR_MSG_NOSIGNAL | (waitingSeconds == 0 ? MR_MSG_DONTWAIT : 0))
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
