import CLinux
import Glibc

/// Wakes a kernel driver through an eventfd.
///
/// Who may wake holds a reference, and the descriptor closes with the last one: so a late wake-up
/// can never write to a number that the kernel has given to somebody else.
package final class EventWaker: Waker {
    package let descriptor: CInt

    /// Stands for the waker where a driver has a token: no slot is numbered so high.
    package static var word: UInt64 { .max }

    package init() throws(SystemError) {
        descriptor = eventfd(0, CInt(MR_EFD_FLAGS))
        guard descriptor >= 0 else { throw SystemError(errno, "eventfd") }
    }

    deinit { Glibc.close(descriptor) }

    package func wake() {
        var one: UInt64 = 1
        // EAGAIN means the counter is full of wake-ups already, EINTR that this one has to be
        // written again.
        while Glibc.write(descriptor, &one, 8) < 0 && errno == EINTR {}
    }

    /// For the driver: the wake-up has been noticed.
    package func reset() {
        var count: UInt64 = 0
        while Glibc.read(descriptor, &count, 8) < 0 && errno == EINTR {}
    }
}

/// Of a driver that has been shut down.
package final class SpentWaker: Waker {
    package init() {}
    package func wake() {}
}
