import Glibc

/// The kernel's monotonic clock, CLOCK_MONOTONIC.
package enum MonotonicClock {
    package static var now: Nanoseconds {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Nanoseconds(time.tv_sec) * 1_000_000_000 + Nanoseconds(time.tv_nsec)
    }
}

extension Nanoseconds {
    /// Saturates: a duration of centuries has the effect of no deadline.
    package init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflow else {
            self = seconds < 0 ? .min / 4 : .max / 4
            return
        }
        let (sum, isTooMuch) = whole.addingReportingOverflow(attoseconds / 1_000_000_000)
        self = isTooMuch ? whole : sum
        self = Swift.max(.min / 4, Swift.min(.max / 4, self))
    }
}
