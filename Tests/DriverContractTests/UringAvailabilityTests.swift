/// Tests of io_uring's availability check in a process that has no free descriptor for a moment.
import Glibc
import MillraceEventLoop
import Testing

@testable import MillraceUring

@Suite struct UringAvailabilityTests {
    private static func limitDescriptors(to count: Int) {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(7), &limit)  // RLIMIT_NOFILE
        limit.rlim_cur = min(rlim_t(count), limit.rlim_max)
        setrlimit(__rlimit_resource_t(7), &limit)
    }

    /// Opens descriptors until few are left, so that each step of the probe is the first to fail
    /// once. The limit belongs to the process, so the test runs in another process.
    @Test(
        "a lack of descriptors at any step of the probe is not remembered",
        .enabled(if: UringDriver.unavailability == nil))
    func whatHasPassedIsNotRemembered() async {
        await #expect(processExitsWith: .success) {
            // The numbers below are in use.
            let free = dup(0)
            close(free)
            var failures = 0
            for left in 0..<20 {
                UringAvailabilityTests.limitDescriptors(to: Int(free) + left)
                guard let refusal = UringDriver.unavailability else { break }
                failures += 1
                #expect(refusal.reason.contains("EMFILE"), "\(refusal.reason)")
                #expect(refusal.remedy == "raise the limit of open files")
            }
            #expect(failures > 1 && failures < 20)
            UringAvailabilityTests.limitDescriptors(to: 1_024)
            #expect(UringDriver.unavailability == nil)
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
