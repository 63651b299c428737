/// Tests of durations in nanoseconds.
import Testing

@testable import MillraceEventLoop

@Suite struct NanosecondsTests {
    private static let exact: [(Duration, Nanoseconds)] = [
        (.zero, 0), (.nanoseconds(1), 1), (.nanoseconds(-1), -1),
        (.microseconds(7), 7000), (.milliseconds(1500), 1_500_000_000),
        (.milliseconds(-1500), -1_500_000_000), (.seconds(1), 1_000_000_000),
        (.seconds(-3), -3_000_000_000), (.nanoseconds(999_999_999), 999_999_999),
        // Fractions of a nanosecond are dropped.
        (
            Duration(secondsComponent: 1, attosecondsComponent: 999_999_999_999_999_999),
            1_999_999_999
        ),
        (Duration(secondsComponent: 0, attosecondsComponent: 999_999_999), 0),
        (Duration(secondsComponent: 0, attosecondsComponent: -999_999_999), 0),
        // Seventy years.
        (.seconds(2_207_520_000), 2_207_520_000_000_000_000),
        (.seconds(-2_207_520_000), -2_207_520_000_000_000_000),
    ]

    @Test("a duration converts to its exact number of nanoseconds", arguments: exact)
    func converts(_ duration: Duration, _ nanoseconds: Nanoseconds) {
        #expect(Nanoseconds(duration) == nanoseconds)
    }

    @Test(
        "a duration that is too long saturates at a quarter of the Int64 range",
        arguments: [
            Int64(2_305_843_010), 9_223_372_036, 9_223_372_037, 1_000_000_000_000, .max / 2, .max,
        ])
    func saturates(seconds: Int64) {
        #expect(Nanoseconds(.seconds(seconds)) == .max / 4)
        #expect(Nanoseconds(.seconds(-seconds)) == .min / 4)
    }

    /// Of these, `Duration.components` would trap.
    private static let beyond: [Duration] = [
        .seconds(Int64.max) * 2, .seconds(Double(Int64.max)), .seconds(1e20),
        .seconds(Int64.max) * 18,
    ]

    @Test("a duration above Int64.max seconds saturates too", arguments: beyond)
    func saturatesBeyondComponents(_ duration: Duration) {
        #expect(Nanoseconds(duration) == .max / 4)
        #expect(Nanoseconds(.zero - duration) == .min / 4)
    }

    @Test("a sum saturates at half of the Int64 range, from any time")
    func sumsSaturate() {
        let longest = Nanoseconds.longest
        for duration in Self.beyond + [.nanoseconds(longest)] {
            #expect(Nanoseconds(7).adding(duration) == longest + 7)
            #expect(Nanoseconds(-7).adding(.zero - duration) <= -longest - 7)
            for time in [longest, longest + 1, 2 * longest, .max] {
                #expect(time.adding(duration) == 2 * longest)
                #expect((-time).adding(.zero - duration) <= -2 * longest)
            }
        }
        #expect(Nanoseconds(5).adding(.nanoseconds(7)) == 12)
        #expect(Nanoseconds(5).adding(.nanoseconds(-7)) == -2)
        #expect(longest.adding(.nanoseconds(-1)) == longest - 1)
    }

    @Test("a longer duration never converts to fewer nanoseconds than a shorter one")
    func longerIsNeverShorter() {
        let durations: [Duration] = [
            .seconds(2_305_843_009), .milliseconds(2_305_843_009_213),
            .milliseconds(2_305_843_009_999), .seconds(2_305_843_010),
            .milliseconds(9_223_372_036_900), .seconds(9_223_372_037), .seconds(100_000_000_000),
        ]
        for (shorter, longer) in zip(durations, durations.dropFirst()) {
            let (first, second) = (Nanoseconds(shorter), Nanoseconds(longer))
            #expect(first <= second, "\(shorter) is \(first), \(longer) is \(second)")
            let (third, fourth) = (Nanoseconds(.zero - shorter), Nanoseconds(.zero - longer))
            #expect(third >= fourth, "-\(shorter) is \(third), -\(longer) is \(fourth)")
        }
    }

    @Test(
        "a duration of a random whole number of nanoseconds converts to that number",
        arguments: Trial.seeds)
    func agreesWithWholeNumbers(seed: UInt64) throws {
        var trial = Trial(seed)
        for _ in 0..<1000 {
            let word = Int64(truncatingIfNeeded: trial.random.next())
            let number = (word >> trial.random.below(60)) / 4
            trial.begin("convert \(number)")
            let nanoseconds = Nanoseconds(Duration.nanoseconds(number))
            try trial.check(nanoseconds == number, "\(nanoseconds)")
        }
    }

    /// A deadline is the sum of a time and a saturated delay.
    @Test("the sum of the current time and a saturated delay does not overflow")
    func saturatedDelaysCanBeAdded() {
        let delay = Nanoseconds(.seconds(Int64.max))
        let (sum, overflow) = MonotonicClock.now.addingReportingOverflow(delay)
        #expect(!overflow && sum > delay)
    }

    @Test("the monotonic clock never returns an earlier time than before")
    func theClockDoesNotGoBack() {
        var last = MonotonicClock.now
        #expect(last > 0)
        for _ in 0..<10_000 {
            let now = MonotonicClock.now
            #expect(now >= last)
            last = now
        }
    }
}
