// Reading of dates in the three formats that RFC 9110, 5.6.7 requires every recipient to accept.
// One is the format that is written today. One of the two old formats has a year of only two
// digits.

extension HTTPDate {
    private static let dayNames: [StaticString] = [
        "Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday",
    ]

    /// Returns seconds since 1970; nil if the bytes are no date. A condition without a valid date
    /// is ignored, which is always safe. `now`, also in seconds, determines the century of a year
    /// of two digits.
    public static func parse(_ bytes: UnsafeRawBufferPointer, now: Int) -> Int? {
        switch bytes.count {
        case byteCount:
            // Sun, 06 Nov 1994 08:49:37 GMT
            guard has("___, 00 ___ 0000 00:00:00 GMT", bytes, 0) else { return nil }
            return time(bytes, year: number(bytes, 12, 4), month: 8, day: 5, clock: 17)
        case 24:
            // Sun Nov  6 08:49:37 1994
            guard has("___ ___ _0 00:00:00 0000", bytes, 0),
                bytes[8] == Byte.space || Byte.digit(bytes[8]) != nil
            else { return nil }
            return time(bytes, year: number(bytes, 20, 4), month: 4, day: 8, clock: 11)
        case 30...33: return parseWithShortYear(bytes, now)
        default: return nil
        }
    }

    /// Parses the format `Sunday, 06-Nov-94 08:49:37 GMT`.
    private static func parseWithShortYear(_ bytes: UnsafeRawBufferPointer, _ now: Int) -> Int? {
        let comma = bytes.count - 24
        guard has(", 00-___-00 00:00:00 GMT", bytes, comma) else { return nil }
        let latest = Self.latest(from: clamped(now))
        let digits = number(bytes, comma + 9, 2)
        let year = latest.year - (latest.year - digits) % 100
        func time(_ year: Int) -> Int? {
            Self.time(
                bytes, year: year, month: comma + 5, day: comma + 2, clock: comma + 12,
                isNameLong: true)
        }
        // The name of the day does not select the century, even if it is right for one century
        // only. A date more than 50 years ahead of `now` lies in the past.
        let start = daysFrom(year, monthNumber(bytes, comma + 5) ?? 1, number(bytes, comma + 2, 2))
        let found = start * 86_400 + secondOfDay(bytes, comma + 12)
        return found > latest.seconds ? time(year - 100) : time(year)
    }

    /// Returns the moment 50 years after `now`, as its year and in seconds since 1970.
    private static func latest(from now: Int) -> (year: Int, seconds: Int) {
        let day = (now >= 0 ? now : now - 86_399) / 86_400
        let (year, month, dayOfMonth) = civil(day)
        let then = daysFrom(year + 50, month, dayOfMonth)
        return (year + 50, then * 86_400 + now - day * 86_400)
    }

    /// Returns the time from fields whose digits are checked; nil if no such time exists or the day
    /// has another name.
    private static func time(
        _ bytes: UnsafeRawBufferPointer, year: Int, month monthPlace: Int, day dayPlace: Int,
        clock: Int, isNameLong: Bool = false
    ) -> Int? {
        guard let month = monthNumber(bytes, monthPlace), number(bytes, clock, 2) < 24,
            number(bytes, clock + 3, 2) < 60, number(bytes, clock + 6, 2) <= 60
        else { return nil }
        let dayOfMonth = number(bytes, dayPlace, 2)
        let day = daysFrom(year, month, dayOfMonth)
        // The 31st of a shorter month would become a day of the next month.
        guard dayOfMonth > 0, civil(day) == (year, month, dayOfMonth) else { return nil }
        let name = dayNames[(day % 7 + 7) % 7]
        let length = isNameLong ? name.utf8CodeUnitCount : 3
        guard !isNameLong || bytes.count == length + 24 else { return nil }
        for index in 0..<length where bytes[index] != name.utf8Start[index] { return nil }
        return day * 86_400 + secondOfDay(bytes, clock)
    }

    private static func secondOfDay(_ bytes: UnsafeRawBufferPointer, _ clock: Int) -> Int {
        (number(bytes, clock, 2) * 60 + number(bytes, clock + 3, 2)) * 60
            + number(bytes, clock + 6, 2)
    }

    /// Returns whether the bytes from `start` on match `pattern`, in which 0 stands for any digit
    /// and an underscore for any byte.
    private static func has(
        _ pattern: StaticString, _ bytes: UnsafeRawBufferPointer, _ start: Int
    ) -> Bool {
        guard bytes.count - start == pattern.utf8CodeUnitCount else { return false }
        for index in 0..<pattern.utf8CodeUnitCount {
            let byte = bytes[start + index]
            switch pattern.utf8Start[index] {
            case 0x5F: break
            case 0x30: if Byte.digit(byte) == nil { return false }
            case let wanted: if byte != wanted { return false }
            }
        }
        return true
    }

    /// Returns the number in `digits` digits. A blank as the first digit counts as 0.
    private static func number(
        _ bytes: UnsafeRawBufferPointer, _ start: Int, _ digits: Int
    ) -> Int {
        bytes[start..<start + digits].reduce(0) { $0 * 10 + (Byte.digit($1) ?? 0) }
    }

    private static func monthNumber(_ bytes: UnsafeRawBufferPointer, _ start: Int) -> Int? {
        (1...12).first { month in
            (0..<3).allSatisfy { bytes[start + $0] == months.utf8Start[(month - 1) * 3 + $0] }
        }
    }
}
