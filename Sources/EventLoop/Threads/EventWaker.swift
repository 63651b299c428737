import CMillraceLinux
import Glibc

/// Wakes a kernel driver through an eventfd.
///
/// Each thread that may wake holds a reference, and the descriptor closes with the last one. So a
/// late wake-up can never write to a descriptor number that the kernel has reused.
package final class EventWaker: Waker {
    package let descriptor: CInt

    /// The waker's value where a driver stores tokens. No slot has so high a number.
    package static var word: UInt64 { .max }

    package init() throws(SystemError) {
        descriptor = eventfd(0, CInt(MR_EFD_FLAGS))
        guard descriptor >= 0 else { throw SystemError(errno, "eventfd") }
    }

    deinit { Glibc.close(descriptor) }

    package func wake() {
        var one: UInt64 = 1
        // EAGAIN means that the counter is full of wake-ups already. After EINTR the write must be
        // repeated.
        while Glibc.write(descriptor, &one, 8) < 0 && errno == EINTR {}
    }

    /// For the driver: clears the wake-up that it has noticed.
    package func reset() {
        var count: UInt64 = 0
        while Glibc.read(descriptor, &count, 8) < 0 && errno == EINTR {}
    }
}

/// The waker of a driver that has been shut down.
package final class SpentWaker: Waker {
    package init() {}
    package func wake() {}
}
