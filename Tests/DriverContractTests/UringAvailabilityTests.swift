/// Tests of io_uring's availability check: in a process that has no free descriptor for a moment,
/// and over kernels with known faults.
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
            for left in 0..<100 {
                UringAvailabilityTests.limitDescriptors(to: Int(free) + left)
                guard let refusal = UringDriver.unavailability else { break }
                failures += 1
                #expect(refusal.reason.contains("EMFILE"), "\(refusal.reason)")
                #expect(refusal.remedy == "raise the limit of open files")
            }
            #expect(failures > 1 && failures < 100, "\(failures) failures")
            UringAvailabilityTests.limitDescriptors(to: 1_024)
            let refusal = UringDriver.unavailability
            #expect(refusal == nil, "\(refusal?.reason ?? "")")
        }
    }

    // MARK: Kernels with faults

    /// Judges a kernel with the fault, and returns how often streams were tried by polling.
    private func judge(
        _ fault: FaultyDriver.Fault?, polling: FaultyDriver.Fault? = nil
    ) throws(SystemError) -> (findings: UringDriver.Findings, polled: Int) {
        func make(
            _ features: UringFeatures, _ fault: FaultyDriver.Fault?
        ) throws(SystemError) -> any Driver {
            let driver = try UringDriver(.tiny, trying: features)
            return fault.map { FaultyDriver(driver, $0) } ?? driver
        }
        let limiting = try make(.all, fault)
        defer { limiting.shutDown() }
        var polled = 0
        let findings = try UringDriver.judge(limiting) { () throws(SystemError) in
            polled += 1
            return try make(.debian13, polling)
        }
        return (findings, polled)
    }

    @Test(
        "streams are polled where the kernel loses an end that comes with bytes, or has no limit",
        .enabled(if: UringDriver.unavailability == nil),
        arguments: [FaultyDriver.Fault.losesEnds, .refusesLimits])
    func faultyReceives(_ fault: FaultyDriver.Fault) throws {
        let (findings, polled) = try judge(fault)
        #expect(findings.unavailability == nil)
        #expect(!findings.canLimitReceives)
        #expect(polled == 1)
    }

    @Test(
        "a kernel on which no way of receiving has an end has no io_uring",
        .enabled(if: UringDriver.unavailability == nil))
    func noEndAtAll() throws {
        let (findings, polled) = try judge(.losesEnds, polling: .losesEnds)
        #expect(findings.unavailability?.reason == "a receive does not work")
        #expect(polled == 1)
    }

    @Test(
        "a kernel that refuses multishot receives of datagrams is too old",
        .enabled(if: UringDriver.unavailability == nil))
    func datagramsRefused() throws {
        let error = try #require(throws: SystemError.self) { try judge(.refusesDatagrams) }
        #expect(error == SystemError(EINVAL, "recvmsg"))
        #expect(!UringRefusal.isPassing(error))
        #expect(UringRefusal(error).reason.contains("too old"))
    }

    @Test(
        "this kernel is judged in the same way",
        .enabled(if: UringDriver.unavailability == nil))
    func thisKernel() throws {
        let (findings, polled) = try judge(nil)
        #expect(findings.unavailability == nil)
        #expect(findings.canLimitReceives == UringDriver.canLimitReceives)
        #expect(polled == (findings.canLimitReceives ? 0 : 1))
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
