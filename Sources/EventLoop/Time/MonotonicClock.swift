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
        // Compared first: above Int64.max seconds, `components` traps.
        if duration >= .nanoseconds(Self.longest) {
            self = Self.longest
        } else if duration <= .nanoseconds(Self.longestAgo) {
            self = Self.longestAgo
        } else {
            let (seconds, attoseconds) = duration.components
            self = seconds * 1_000_000_000 + attoseconds / 1_000_000_000
        }
    }

    /// 73 years, the longest time that a duration is converted to: the sum of three is a number.
    package static var longest: Nanoseconds { .max / 4 }
    private static var longestAgo: Nanoseconds { .min / 4 }

    /// Adds a duration that a caller has chosen. Saturates at twice the longest time, so that one
    /// more duration can be added to the sum.
    package func adding(_ duration: Duration) -> Nanoseconds {
        let (sum, overflow) = addingReportingOverflow(Nanoseconds(duration))
        guard !overflow else { return self < 0 ? 2 * Self.longestAgo : 2 * Self.longest }
        return Swift.max(2 * Self.longestAgo, Swift.min(2 * Self.longest, sum))
    }
}
