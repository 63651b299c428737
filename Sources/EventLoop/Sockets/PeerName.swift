import CLinux
import Glibc

/// Where accept4(2) writes whom a connection is with.
package struct PeerName {
    private var storage = sockaddr_storage()
    private var length: UInt32 = 0

    package init() {}

    /// The descriptor, or -1 and errno.
    package mutating func accept(on listener: CInt) -> CInt {
        mr_accept_from(listener, &storage, &length)
    }

    /// Of the last connection that was accepted.
    package var address: SocketAddress? {
        length > 0 ? SocketAddress(storage, length: length) : nil
    }
}
