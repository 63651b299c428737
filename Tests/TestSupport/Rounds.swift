/// Bounds of time on a machine that may be slow, or stand still for seconds at any moment.
///
/// A fault of the library shows in every round of a test, a pause of the machine only in some.
import Glibc

/// A condition that did not hold. Unlike `#expect`, it fails no test by itself: the round that
/// throws it may be repeated.
public struct Unmet: Error, CustomStringConvertible {
    public let description: String
}

public func must(_ holds: Bool, _ what: @autoclosure () -> String) throws {
    if !holds { throw Unmet(description: what()) }
}

/// Repeats `round` until it returns less than `limit`, at most ten times. A larger patience means a
/// slower machine, and a longer limit.
public func promptly(
    _ what: String, within limit: Duration, _ round: () throws -> Duration
) throws {
    let limit = max(limit, limit * (patience / .seconds(30)))
    var times: [Duration] = []
    while times.count < 10 {
        let time = try round()
        if time < limit { return }
        times.append(time)
    }
    throw Overdue(what: "\(what), in ten rounds of \(times)", limit: limit)
}

/// The longest time between two marks of a round: the delay of the test itself and of its machine.
public final class Pace {
    public private(set) var longest = Duration.zero
    private var last = ContinuousClock.now

    public init() {}

    public func mark() {
        let now = ContinuousClock.now
        note(last.duration(to: now))
        last = now
    }

    /// Notes the longest time between two marks of another thread of the round.
    public func note(_ time: Duration) { longest = max(longest, time) }

    /// The time since the last mark does not count: the round has waited for a time-out.
    public func rest() { last = .now }
}

/// Runs `round`, and repeats it if it throws after two marks that were at least `limit` apart: a
/// time-out of the peer was then right. Any other error is thrown, and so is one of a wait that has
/// used up the test's patience.
public func keepingPace(of limit: Duration, _ round: (Pace) throws -> Void) throws {
    for number in 1...10 {
        let pace = Pace()
        do {
            return try round(pace)
        } catch {
            pace.mark()
            guard pace.longest >= limit, number < 10, !(error is Overdue) else { throw error }
        }
    }
}

/// Runs `round` with `time`, and with four times as much after each error, as long as that is less
/// than the patience. For a limit that a test sets: a slow machine may use up a short one before
/// the test has done its part. An error of a wait that has used up the patience is thrown at once.
public func withGrowingTime(from time: Duration, _ round: (Duration) throws -> Void) throws {
    var time = time
    while true {
        do {
            return try round(time)
        } catch {
            guard time * 4 < patience, !(error is Overdue) else { throw error }
            time *= 4
        }
    }
}

/// Waits until `count` is above zero and has stayed the same for 50 ms, and returns it. On a
/// machine that stands still it may grow later, so that a check behind this must not rely on its
/// value.
@discardableResult
public func settled(_ what: String, _ count: () throws -> Int) throws -> Int {
    let deadline = Deadline()
    var last = 0
    var looks = 0
    while looks < 25 {
        let now = try count()
        looks = now > 0 && now == last ? looks + 1 : 0
        last = now
        try deadline.check("\(what), at \(now)")
        usleep(2000)
    }
    return last
}
