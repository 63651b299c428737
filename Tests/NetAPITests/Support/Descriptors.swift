/// Descriptors that a test hands to the library.
import Glibc
import MillraceTestSupport

func isOpen(_ number: CInt) -> Bool { fcntl(number, F_GETFD) >= 0 }

/// Moves the descriptor to a number that the process does not reuse once it is closed.
func elevated(_ number: CInt) throws -> CInt {
    let copy = fcntl(number, F_DUPFD_CLOEXEC, 700)
    close(number)
    guard copy >= 0 else { throw SystemFailure("fcntl") }
    return copy
}

/// A blocking socket, like those of programs that know nothing of the library.
func plainStream() throws -> CInt {
    try KernelAddress("tcp://127.0.0.1:0").makeSocket(CInt(SOCK_STREAM.rawValue))
}

/// A blocking listener on a free port.
func plainListener() throws -> CInt {
    try KernelAddress("tcp://127.0.0.1:0").bind(CInt(SOCK_STREAM.rawValue), backlog: 128)
}
