import Glibc

/// What an errno of a datagram socket means for the socket.
package enum DatagramError {
    /// Sent one by one, these may go out all the same.
    package static func forbidsBundles(_ number: Int32) -> Bool {
        switch number {
        // In this order: a device or a tunnel that cannot, a datagram beyond the path's size, both,
        // a kernel that does not know it.
        case EIO, EINVAL, EMSGSIZE, EOPNOTSUPP, ENOPROTOOPT: true
        default: false
        }
    }

    /// About a datagram that was sent earlier (ICMP says where it ended), about a signal, or about
    /// this one only: the next try may succeed at once.
    package static func isPassing(_ number: Int32) -> Bool {
        switch number {
        case ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENETDOWN, ENONET, ECONNRESET,
            EMSGSIZE, EPROTO, ENOPROTOOPT, EINTR:
            true
        default: false
        }
    }

    /// As far as it can be about a datagram that was sent earlier: the one that was to be sent has
    /// not been tried.
    package static func isOldNews(_ number: Int32) -> Bool {
        number != EMSGSIZE && isPassing(number)
    }

    /// As far as it can be about the source that a datagram was to have: the address or its
    /// interface is gone, for which IPv4 says ENETUNREACH and IPv6 EINVAL.
    package static func refusesSource(_ number: Int32) -> Bool {
        switch number {
        case EINVAL, EADDRNOTAVAIL, ENODEV, ENETUNREACH: true
        default: false
        }
    }

    /// The socket itself is of no use any more: it is no socket, not one of datagrams, or has no
    /// peer or no way out. Any other error is the loss of a datagram, whatever it says: a firewall
    /// (EPERM), a router (EACCES), a full queue (ENOBUFS), an address that is gone (EINVAL).
    package static func endsSocket(_ number: Int32) -> Bool {
        switch number {
        case EBADF, ENOTSOCK, ENOSYS, ENOTCONN, EDESTADDRREQ, EPIPE, ESHUTDOWN: true
        default: false
        }
    }
}
