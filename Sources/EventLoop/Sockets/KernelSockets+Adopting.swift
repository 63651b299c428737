import CLinux
import Glibc

/// Sockets that were made elsewhere: by a service manager, a parent, or the program itself.
extension KernelSockets {
    package func adopt(_ descriptor: Descriptor) throws(SystemError) -> BoundListener {
        let type = try integer(CInt(MR_SO_TYPE), of: descriptor)
        let isDatagram = type == CInt(MR_SOCK_DGRAM)
        if !isDatagram {
            guard type == CInt(MR_SOCK_STREAM),
                try integer(CInt(MR_SO_ACCEPTCONN), of: descriptor) != 0
            else { throw SystemError(EINVAL, "listen") }
        }
        try prepareAdopted(descriptor)
        let address = try localAddress(of: descriptor)
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
        // A lingering close would block the loop.
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
    }

    private func integer(_ name: CInt, of descriptor: Descriptor) throws(SystemError) -> CInt {
        var value: CInt = 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        guard getsockopt(descriptor.number, SOL_SOCKET, name, &value, &size) == 0 else {
            throw SystemError(errno, "getsockopt")
        }
        return value
    }
}
