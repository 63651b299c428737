import CMillraceLinux
import Glibc

/// Sockets that a service manager, a parent process or the program has made.
extension KernelSockets {
    package func adopt(_ descriptor: Descriptor) throws(SystemError) -> BoundListener {
        let type = try integer(CInt(MR_SO_TYPE), of: descriptor)
        let isDatagram = type == CInt(MR_SOCK_DGRAM)
        if !isDatagram {
            guard type == CInt(MR_SOCK_STREAM),
                try integer(CInt(MR_SO_ACCEPTCONN), of: descriptor) != 0
            else { throw SystemError(EINVAL, "listen") }
        }
        let address = try localAddress(of: descriptor)
        if isDatagram, case .unix = address { throw SystemError(EPROTOTYPE, "adopt") }
        try prepareAdopted(descriptor)
        if isDatagram && address.isWildcard { askWhoWasAsked(descriptor, address) }
        return BoundListener(
            descriptor: descriptor, address: address, isDatagram: isDatagram, isInherited: true)
    }

    package func adoptStream(_ descriptor: Descriptor) throws(SystemError) {
        guard try integer(CInt(MR_SO_TYPE), of: descriptor) == CInt(MR_SOCK_STREAM) else {
            throw SystemError(EPROTOTYPE, "getsockopt")
        }
        _ = try remoteAddress(of: descriptor)
        try prepareAdopted(descriptor)
        // A positive SO_LINGER would block the loop in close(2).
        try set(.linger(reset: false), on: descriptor)
    }

    package func duplicate(_ descriptor: Descriptor) throws(SystemError) -> Descriptor {
        let number = fcntl(descriptor.number, F_DUPFD_CLOEXEC, 0)
        guard number >= 0 else { throw SystemError(errno, "fcntl") }
        return Descriptor(number)
    }

    private func prepareAdopted(_ descriptor: Descriptor) throws(SystemError) {
        let flags = fcntl(descriptor.number, F_GETFL)
        guard flags >= 0, fcntl(descriptor.number, F_SETFL, flags | O_NONBLOCK) >= 0,
            fcntl(descriptor.number, F_SETFD, FD_CLOEXEC) >= 0
        else { throw SystemError(errno, "fcntl") }
        // A queue of errors keeps a socket ready until a program empties it: one ICMP message of a
        // remote host would make the loop spin. Clearing the option empties the queue.
        try? setInteger(0, CInt(MR_IPPROTO_IP), CInt(MR_IP_RECVERR), on: descriptor)
        try? setInteger(0, CInt(MR_IPPROTO_IPV6), CInt(MR_IPV6_RECVERR), on: descriptor)
    }
}
