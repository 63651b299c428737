import CMillraceLinux
import Glibc
import MillraceEventLoop

/// Two connected Unix sockets: one for a driver, which closes it, and its peer.
struct SocketPair {
    let own: Descriptor
    private let peer: CInt

    init() throws(SystemError) {
        var ends: [CInt] = [-1, -1]
        let type = CInt(MR_SOCK_STREAM | MR_SOCK_NONBLOCK | MR_SOCK_CLOEXEC)
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else {
            throw SystemError(errno, "socketpair")
        }
        own = Descriptor(ends[0])
        peer = ends[1]
    }

    /// Whether the peer finds the end of its stream, without a wait for it.
    func readsEnd() -> Bool {
        var byte: UInt8 = 0
        return recv(peer, &byte, 1, CInt(MR_MSG_DONTWAIT)) == 0
    }

    func close() { Glibc.close(peer) }
}
