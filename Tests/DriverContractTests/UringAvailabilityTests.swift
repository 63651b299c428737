import Glibc
/// Tests of io_uring's availability check in a process that has no free descriptor for a moment.
import MillraceEventLoop
import Testing

@testable import MillraceUring

@Suite struct UringAvailabilityTests {
    /// The limit belongs to the process, so the test runs in another process.
    @Test("a temporary refusal of io_uring is not remembered")
    func whatHasPassedIsNotRemembered() async {
        await #expect(processExitsWith: .success) {
            var limit = rlimit()
            getrlimit(__rlimit_resource_t(7), &limit)  // RLIMIT_NOFILE
            var none = limit
            none.rlim_cur = 3
            setrlimit(__rlimit_resource_t(7), &none)
            let refusal = UringDriver.unavailability
            setrlimit(__rlimit_resource_t(7), &limit)
            let again = UringDriver.unavailability
            // A machine without io_uring reports that before it needs a free descriptor.
            guard let refusal, refusal.reason.contains("EMFILE") else { return }
            #expect(refusal.remedy.contains("open files"))
            #expect(again?.reason.contains("EMFILE") != true)
        }
    }

    @Test("only EMFILE, ENFILE, EAGAIN and EINTR count as temporary refusals")
    func onlyPassingErrorsArePassing() {
        for number in [EMFILE, ENFILE, EAGAIN, EINTR] {
            #expect(UringRefusal.isPassing(SystemError(number, "io_uring_setup")))
        }
        for number in [ENOSYS, EPERM, EACCES, EINVAL] {
            #expect(!UringRefusal.isPassing(SystemError(number, "io_uring_setup")))
        }
    }

    @Test("every refusal of io_uring names the call and the error")
    func everyRefusalNamesCallAndError() {
        for number in [ENOSYS, EPERM, EINVAL, ENOMEM, EMFILE, ENFILE, EAGAIN, EIO] {
            let error = SystemError(number, "io_uring_setup")
            #expect(UringRefusal(error).reason.hasPrefix("io_uring_setup gave \(error.name)"))
        }
    }
}
