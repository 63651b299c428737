/// Dates: the written format, the three formats that are read, and the limits of the range.
import HTTPCodec
import Testing

@Suite struct DateTests {
    private func parse(_ text: String, now: Int = 784_111_777) -> Int? {
        Array(text.utf8).withUnsafeBytes { HTTPDate.parse($0, now: now) }
    }

    private func written(_ seconds: Int) -> String {
        var room = [UInt8](repeating: 0, count: 29)
        room.withUnsafeMutableBytes { HTTPDate.write(seconds, into: $0) }
        return String(decoding: room, as: UTF8.self)
    }

    @Test(
        "dates are written and read in the HTTP format",
        arguments: [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (-1, "Wed, 31 Dec 1969 23:59:59 GMT"), (-86_400, "Wed, 31 Dec 1969 00:00:00 GMT"),
            (-62_167_219_200, "Sat, 01 Jan 0000 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ])
    func datesAreWrittenAndRead(_ seconds: Int, _ text: String) {
        #expect(written(seconds) == text)
        #expect(parse(text) == seconds)
    }

    /// A disk may report any time. The nearest date that can be written replaces it.
    @Test(
        "a time outside the range of HTTP dates is written as the nearest date",
        arguments: [
            Int.min, Int.min + 1, -1 << 62, -62_167_219_201, 253_402_300_800, 1 << 53, Int.max,
        ])
    func whatCannotBeWrittenIsNearlyWritten(_ seconds: Int) {
        let nearest =
            seconds < 0 ? "Sat, 01 Jan 0000 00:00:00 GMT" : "Fri, 31 Dec 9999 23:59:59 GMT"
        #expect(written(seconds) == nearest)
        #expect(parse(nearest) == HTTPDate.clamped(seconds))
        // The parser must not trap either.
        _ = parse("Sunday, 06-Nov-94 08:49:37 GMT", now: seconds)
    }

    @Test(
        "the parser reads the two obsolete date formats and leap seconds",
        arguments: [
            ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
            ("Sun Nov  6 08:49:37 1994", 784_111_777),
            ("Sun Nov 06 08:49:37 1994", 784_111_777), ("Sun Nov 16 08:49:37 1997", 879_670_177),
            ("Thursday, 01-Jan-70 00:00:00 GMT", 0), ("Wednesday, 31-Dec-69 23:59:59 GMT", -1),
            ("Tue Feb 29 00:00:00 2000", 951_782_400),
            // A leap second is read as the first second of the next minute.
            ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
            ("Saturday, 31-Dec-16 23:59:60 GMT", 1_483_228_800),
            ("Sat Dec 31 23:59:60 2016", 1_483_228_800),
        ])
    func oldFormsAreRead(_ text: String, _ seconds: Int) {
        #expect(parse(text) == seconds)
    }

    /// A date that seems to be more than 50 years ahead lies in the past.
    @Test("a year of two digits is read as at most fifty years ahead")
    func yearsOfTwoDigitsAreAtMostFiftyAhead() {
        // 2026-11-26 00:00:00 is 1_795_651_200; fifty years later it is a Thursday.
        let now = 1_795_651_200
        #expect(parse("Thursday, 26-Nov-76 00:00:00 GMT", now: now) == 3_373_574_400)
        #expect(parse("Friday, 26-Nov-76 00:00:01 GMT", now: now) == 217_814_401)
        #expect(parse("Friday, 01-Jan-77 00:00:00 GMT", now: now) == nil)
        #expect(parse("Saturday, 01-Jan-77 00:00:00 GMT", now: now) == 220_924_800)
        #expect(parse("Sunday, 06-Nov-94 08:49:37 GMT", now: now) == 784_111_777)
        #expect(parse("Thursday, 26-Nov-26 00:00:00 GMT", now: now) == now)
    }

    @Test(
        "the date parser returns nil for each malformed date",
        arguments: [
            "", "Sun, 06 Nov 1994 08:49:37 UTC", "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 36 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 28:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT", "Sunday, 06-Nov-94 08:49:61 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
            "Wed, 31 Nov 1994 08:49:37 GMT", "Wed, 30 Feb 1994 08:49:37 GMT",
            "Wed, 00 Nov 1994 08:49:37 GMT", "Sun, 06 nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT", "Monday, 06-Nov-94 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT", "Sundays, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06 Nov 94 08:49:37 GMT", "Sunday, 36-Nov-94 08:49:37 GMT",
            "Sunday, 06-Now-94 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 CET",
            "Mon Nov  6 08:49:37 1994", "Sun Nov 6  08:49:37 1994", "Sun Nov  x 08:49:37 1994",
            "Sun Nov x6 08:49:37 1994", "Sun Nov    08:49:37 1994", "Sun Nov  6 08:49:37 19 4",
            "Sun Nov  6 24:00:00 1994", "Sun Nov  6 08.49.37 1994",
        ])
    func otherDatesAreNone(_ text: String) {
        #expect(parse(text) == nil)
    }
}
