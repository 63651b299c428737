import Glibc

/// What an errno of accept(2) means for the listener.
package enum AcceptError {
    /// The backlog is empty.
    case nobodyWaits
    /// About that one connection, or about nothing: the next accept may succeed. The man page lists
    /// the network errors that Linux passes on from the new socket.
    case passing
    /// Out of descriptors or memory, or worse: trying again at once would spin.
    case lasting(SystemError)

    package init(_ number: Int32) {
        switch number {
        case EAGAIN: self = .nobodyWaits
        case EINTR, ECONNABORTED, EPROTO, ENOPROTOOPT, ENETDOWN, ENETUNREACH, EHOSTDOWN,
            EHOSTUNREACH, ENONET, EOPNOTSUPP:
            self = .passing
        default: self = .lasting(SystemError(number, "accept"))
        }
    }
}
