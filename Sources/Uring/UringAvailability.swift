internal import CMillraceLinux
internal import CMillraceURing
import Glibc
internal import MillraceEventLoop

/// Finds out whether io_uring can be used on this machine, by using it.
///
/// Kernel versions do not show that: kernels are patched, and sandboxes forbid calls. The probe
/// makes a small ring and checks for its operations. Then it receives one byte in the same way as a
/// connection does.
extension UringDriver {
    /// The reason why io_uring cannot be used, or nil. Probed once per process, and again only
    /// after an error that may have passed.
    package static var unavailability: UringRefusal? { findings.unavailability }

    /// Whether a multishot receive can have a limit: from Linux 6.17 on.
    package static var canLimitReceives: Bool { findings.canLimitReceives }

    private struct Findings {
        var unavailability: UringRefusal?
        var canLimitReceives = false
    }

    private static let remembered = Monitor<Findings?>(nil)

    private static var findings: Findings {
        remembered.withLock { remembered in
            if let remembered { return remembered }
            do throws(SystemError) {
                let findings = try probe()
                remembered = findings
                return findings
            } catch {
                let findings = Findings(unavailability: UringRefusal(error))
                if !UringRefusal.isPassing(error) { remembered = findings }
                return findings
            }
        }
    }

    private static func probe() throws(SystemError) -> Findings {
        let limited = try UringDriver(.tiny, trying: .all)
        defer { limited.shutDown() }
        let missing = mr_ring_missing_operation(limited.ring)
        if missing < 0 { throw SystemError(-missing, "io_uring_register") }
        if missing > 0 {
            return Findings(
                unavailability: UringRefusal("this kernel's io_uring lacks operation \(missing)"))
        }
        do throws(SystemError) {
            if try limited.receivesAByte() { return Findings(canLimitReceives: true) }
            return Findings(unavailability: UringRefusal("a receive does not work"))
        } catch  where error.number == EINVAL {
            // Older kernels refuse the limit with EINVAL.
        }
        let polling = try UringDriver(.tiny, trying: .debian13)
        defer { polling.shutDown() }
        guard try polling.receivesAByte() else {
            return Findings(unavailability: UringRefusal("a receive does not work"))
        }
        return Findings()
    }

    private func receivesAByte() throws(SystemError) -> Bool {
        var ends: [CInt] = [-1, -1]
        guard socketpair(AF_UNIX, CInt(MR_SOCK_STREAM | MR_SOCK_CLOEXEC), 0, &ends) == 0 else {
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
}
