import CMillraceLinux
import Glibc

/// The buffer for the peer's address that accept4(2) returns.
package struct PeerName {
    private var storage = sockaddr_storage()
    private var length: UInt32 = 0

    package init() {}

    /// Returns the new descriptor, or -1 with errno.
    package mutating func accept(on listener: CInt) -> CInt {
        mr_accept_from(listener, &storage, &length)
    }

    /// The peer of the last accepted connection.
    package var address: SocketAddress? {
        length > 0 ? SocketAddress(storage, length: length) : nil
    }
}
