import Glibc
package import MillraceEventLoop

/// The reason why io_uring cannot be used, as text for people.
package struct UringRefusal: Sendable {
    package let reason: String
    /// The change that would allow io_uring; empty if nothing on this machine can be changed.
    package let remedy: String

    init(_ reason: String, _ remedy: String = "") {
        self.reason = reason
        self.remedy = remedy
    }

    /// Explains an error from making a ring.
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

    /// Whether the error may pass: it depends on the moment, not on io_uring.
    static func isPassing(_ error: SystemError) -> Bool {
        switch error.number {
        // RLIMIT_MEMLOCK too counts all memory that the user has locked at the moment.
        case EMFILE, ENFILE, EAGAIN, EINTR, ENOMEM: true
        default: false
        }
    }

    /// The limit of locked memory in bytes.
    private static var lockedMemory: rlim_t {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(8), &limit)  // RLIMIT_MEMLOCK
        return limit.rlim_cur
    }

    /// Whether RLIMIT_MEMLOCK may be the cause. Rings never need 1 GiB, and no limit applies to an
    /// administrator.
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
