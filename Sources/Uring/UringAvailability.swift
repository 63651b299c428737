internal import CURing
package import EventLoop
import Glibc

/// Whether io_uring can be used here, found out by using it.
///
/// Versions say little: kernels are patched, and sandboxes forbid calls. So a small ring is made,
/// its operations are asked for, and a byte goes once through all that a receive needs.
extension UringDriver {
    /// Why it cannot be used, in words, or nil. Looked into once for the process.
    package static var unavailability: String? { findings.unavailability }

    /// Whether a multishot receive may be given a limit: from Linux 6.17 on.
    package static var canLimitReceives: Bool { findings.canLimitReceives }

    private struct Findings {
        var unavailability: String?
        var canLimitReceives = false
    }

    private static let findings: Findings = {
        do throws(SystemError) {
            return try probe()
        } catch {
            return Findings(unavailability: explain(error))
        }
    }()

    private static func probe() throws(SystemError) -> Findings {
        let limited = try UringDriver(.tiny, limitsReceives: true)
        defer { limited.shutDown() }
        let missing = mr_ring_missing_operation(limited.ring)
        if missing < 0 { throw SystemError(-missing, "io_uring_register") }
        if missing > 0 {
            return Findings(unavailability: "this kernel's io_uring lacks operation \(missing)")
        }
        do throws(SystemError) {
            if try limited.receivesAByte() { return Findings(canLimitReceives: true) }
            return Findings(unavailability: "a receive does not work")
        } catch where error.number == EINVAL {
            // So it is with the limit that older kernels refuse.
        }
        let polling = try UringDriver(.tiny, limitsReceives: false)
        defer { polling.shutDown() }
        guard try polling.receivesAByte() else {
            return Findings(unavailability: "a receive does not work")
        }
        return Findings()
    }

    private func receivesAByte() throws(SystemError) -> Bool {
        var ends: [CInt] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0 else {
            throw SystemError(errno, "socketpair")
        }
        defer { Glibc.close(ends[1]) }
        let token = Token(slot: 0, generation: 1)
        attach(Descriptor(ends[0]), as: token)
        submit(.receive, for: token)
        guard Glibc.write(ends[1], "x", 1) == 1 else { throw SystemError(errno, "write") }
        let end = clock + 1_000_000_000
        while clock < end {
            try wait(until: end)
            while let completion = next() {
                switch completion.event {
                case .received:
                    return completion.event.receivedBytes?.elementsEqual("x".utf8) == true
                case .failed(_, let error): throw error
                default: return false
                }
            }
        }
        return false
    }

    /// What an error of a ring's making means, for people.
    package static func explain(_ error: SystemError) -> String {
        let fact = "\(error.call) gave \(error.name)"
        switch error.number {
        case ENOSYS: return "\(fact): this kernel, or a sandbox around it, has no io_uring"
        case EPERM, EACCES: return "\(fact) and \(whoForbids())"
        case ENOMEM:
            var limit = rlimit()
            getrlimit(__rlimit_resource_t(8), &limit)  // RLIMIT_MEMLOCK
            return "\(fact): RLIMIT_MEMLOCK allows \(limit.rlim_cur) bytes of locked memory"
        case EINVAL: return "\(fact): this kernel's io_uring is too old, or was cut down"
        default: return fact
        }
    }

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
        let file = Glibc.open("/proc/sys/kernel/io_uring_disabled", O_RDONLY)
        guard file >= 0 else { return nil }
        defer { Glibc.close(file) }
        var digit: UInt8 = 0
        return Glibc.read(file, &digit, 1) == 1 ? Int(digit) - 0x30 : nil
    }
}
