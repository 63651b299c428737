/// What of io_uring a driver uses that not every kernel has.
///
/// The older sets are for tests: whatever kernel the tests run on, they also take the ways that a
/// driver takes on the kernels named.
package struct UringFeatures: Sendable, Hashable {
    /// How the kernel tells what it has done.
    package enum TaskWork: UInt32, Sendable {
        /// Only when it is entered for completions (IORING_SETUP_DEFER_TASKRUN, Linux 6.1).
        case deferred
        /// With the next entry of any kind, for one submitter (IORING_SETUP_SINGLE_ISSUER, 6.0).
        case cooperative
        /// The same for several (IORING_SETUP_COOP_TASKRUN, 5.19).
        case shared
        /// At once, by interrupting the thread; and no flag tells of more to come.
        case interrupting
    }

    /// The best to try first: where the kernel refuses it, the next one is taken.
    package var taskWork = TaskWork.deferred
    /// A multishot receive ends itself after so many bytes (Linux 6.17).
    package var limitsReceives = true
    /// A wait can go on after the first completion in order to collect more (Linux 6.12).
    package var minimumWait = true

    package init() {}

    /// The newest.
    package static let all = UringFeatures()
    /// Debian 13's kernel.
    package static let debian13 = UringFeatures.all.with { $0.limitsReceives = false }
    /// Debian 12's kernel.
    package static let debian12 = UringFeatures.debian13.with { $0.minimumWait = false }
    /// The oldest that has every operation.
    package static let oldest = UringFeatures.debian12.with { $0.taskWork = .cooperative }
    /// No flag at all, as where a sandbox or a patched kernel refuses them.
    package static let plain = UringFeatures.debian12.with { $0.taskWork = .interrupting }

    private func with(_ change: (inout UringFeatures) -> Void) -> UringFeatures {
        var features = self
        change(&features)
        return features
    }
}
