package import EventLoop
import Glibc

/// Why io_uring cannot be used, for people.
package struct UringRefusal: Sendable {
    package let reason: String
    /// What would let it be used; empty if nobody here can do anything about it.
    package let remedy: String

    init(_ reason: String, _ remedy: String = "") {
        self.reason = reason
        self.remedy = remedy
    }

    /// What an error of a ring's making means.
    package init(_ error: SystemError) {
        let fact = "\(error.call) gave \(error.name)"
        switch error.number {
        case ENOSYS: self.init("\(fact): this kernel, or a sandbox around it, has no io_uring")
        case EPERM, EACCES: self.init("\(fact) and \(Self.whoForbids())")
        case ENOMEM where Self.isLimitOfLockedMemory:
            self.init(
                "\(fact): RLIMIT_MEMLOCK allows \(Self.lockedMemory) bytes of locked memory",
                "raise that limit")
        case ENOMEM, EAGAIN: self.init("\(fact): the machine is short of memory", "try again")
        case EMFILE:
            self.init(
                "\(fact): this process has as many files open as RLIMIT_NOFILE allows",
                "raise the limit of open files")
        case ENFILE:
            self.init(
                "\(fact): this machine has as many files open as fs.file-max allows",
                "raise the limit of open files")
        case EINVAL: self.init("\(fact): this kernel's io_uring is too old, or was cut down")
        default: self.init(fact)
        }
    }

    /// It says nothing of io_uring, only of this moment.
    static func isPassing(_ error: SystemError) -> Bool {
        switch error.number {
        // The limit of locked memory too is one for all that the user has at this moment.
        case EMFILE, ENFILE, EAGAIN, EINTR, ENOMEM: true
        default: false
        }
    }

    /// In bytes.
    private static var lockedMemory: rlim_t {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(8), &limit)  // RLIMIT_MEMLOCK
        return limit.rlim_cur
    }

    /// More than rings ever take is no limit to them, and to an administrator none is.
    private static var isLimitOfLockedMemory: Bool { lockedMemory < 1 << 30 && geteuid() != 0 }

    private static func whoForbids() -> String {
        let setting = "kernel.io_uring_disabled"
        switch disabledSetting() {
        case 2: return "\(setting) is 2, which forbids it to everybody"
        case 1: return "\(setting) is 1, which forbids it to all but administrators"
        case 0: return "\(setting) is 0, so a sandbox forbids it"
        default: return "there is no \(setting), so a sandbox forbids it"
        }
    }

    private static func disabledSetting() -> Int? {
        let file = Glibc.open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { Glibc.close(file) }
        var digit: UInt8 = 0
        return Glibc.read(file, &digit, 1) == 1 ? Int(digit) - 0x30 : nil
    }
}
