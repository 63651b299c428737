import Glibc

/// The meaning of an accept(2) errno for the listener.
package enum AcceptError {
    /// The backlog is empty.
    case nobodyWaits
    /// The error concerns one connection or a signal, so the next accept may succeed. The man page
    /// lists the network errors that Linux passes on from the new socket.
    case passing
    /// No descriptor or memory is free, or the error is worse. An immediate retry would spin.
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
