/// The features of io_uring that a driver uses and that some kernels lack.
///
/// The older sets are for tests: on any kernel, a driver then uses the code paths for the named
/// kernels.
package struct UringFeatures: Sendable, Hashable {
    /// The way in which the kernel delivers completions.
    package enum TaskWork: UInt32, Sendable {
        /// Only when the ring is entered for completions (IORING_SETUP_DEFER_TASKRUN, Linux 6.1).
        case deferred
        /// With the next kernel entry of any kind, for one submitter (IORING_SETUP_SINGLE_ISSUER,
        /// 6.0).
        case cooperative
        /// Like `cooperative`, but for several submitters (IORING_SETUP_COOP_TASKRUN, 5.19).
        case shared
        /// At once, by interrupting the thread. No flag reports pending work.
        case interrupting
    }

    /// The first mode to try: if the kernel refuses it, the next one is tried.
    package var taskWork = TaskWork.deferred
    /// Whether a multishot receive ends by itself after a number of bytes (Linux 6.17) and reports
    /// every end.
    package var limitsReceives = true
    /// Whether a wait can continue after the first completion, to collect more (Linux 6.12).
    package var minimumWait = true

    package init() {}

    /// The features of the newest kernel.
    package static let all = UringFeatures()
    /// The features of Debian 13's kernel.
    package static let debian13 = UringFeatures.all.with { $0.limitsReceives = false }
    /// The features of Debian 12's kernel.
    package static let debian12 = UringFeatures.debian13.with { $0.minimumWait = false }
    /// The features of the oldest kernel that has every operation.
    package static let oldest = UringFeatures.debian12.with { $0.taskWork = .cooperative }
    /// No optional flag, like where a sandbox or a patched kernel refuses them.
    package static let plain = UringFeatures.debian12.with { $0.taskWork = .interrupting }

    private func with(_ change: (inout UringFeatures) -> Void) -> UringFeatures {
        var features = self
        change(&features)
        return features
    }
}
