import Glibc

/// What an errno of a datagram socket means for the socket.
package enum DatagramError {
    /// About a datagram that was sent earlier (ICMP says where it ended), about a signal, or about
    /// this one only: the socket goes on.
    package static func isPassing(_ number: Int32) -> Bool {
        switch number {
        case ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENETDOWN, ECONNRESET, EMSGSIZE,
            EPROTO, ENOPROTOOPT, EINTR:
            true
        default: false
        }
    }
}
