import Glibc

/// The meaning of a datagram socket's errno for the socket.
package enum DatagramError {
    /// Whether the datagrams of a refused bundle may still be sent one by one.
    package static func forbidsBundles(_ number: Int32) -> Bool {
        switch number {
        // In this order: a device or tunnel that cannot segment, a datagram beyond the path's size,
        // both, and a kernel that does not know UDP_SEGMENT.
        case EIO, EINVAL, EMSGSIZE, EOPNOTSUPP, ENOPROTOOPT: true
        default: false
        }
    }

    /// Whether the next attempt may succeed at once. The error concerns an earlier datagram
    /// (reported by ICMP), a signal, or this datagram only.
    package static func isPassing(_ number: Int32) -> Bool {
        switch number {
        case ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENETDOWN, ENONET, ECONNRESET,
            EMSGSIZE, EPROTO, ENOPROTOOPT, EINTR:
            true
        default: false
        }
    }

    /// Whether the error may belong to an earlier datagram. Then the current one has not been
    /// tried.
    package static func isOldNews(_ number: Int32) -> Bool {
        number != EMSGSIZE && isPassing(number)
    }

    /// Whether the error may concern the datagram's source: its address or interface is gone. IPv4
    /// reports ENETUNREACH for that and IPv6 EINVAL.
    package static func refusesSource(_ number: Int32) -> Bool {
        switch number {
        case EINVAL, EADDRNOTAVAIL, ENODEV, ENETUNREACH: true
        default: false
        }
    }

    /// Whether the socket is unusable: not a socket, not a datagram socket, without a peer, or shut
    /// down. Any other error is one lost datagram: a firewall (EPERM), a router (EACCES), a full
    /// queue (ENOBUFS), an address that is gone (EINVAL).
    package static func endsSocket(_ number: Int32) -> Bool {
        switch number {
        case EBADF, ENOTSOCK, ENOSYS, ENOTCONN, EDESTADDRREQ, EPIPE, ESHUTDOWN: true
        default: false
        }
    }
}
