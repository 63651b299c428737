// Dates in the format that HTTP writes: `Sun, 06 Nov 1994 08:49:37 GMT`, always 29 bytes. Reading
// is in HTTPDate+Reading.swift.

public enum HTTPDate {
    public static let byteCount = 29
    private static let days: StaticString = "ThuFriSatSunMonTueWed"
    static let months: StaticString = "JanFebMarAprMayJunJulAugSepOctNovDec"
    /// The first second of the year 0 and the last second of 9999. Other years do not have four
    /// digits.
    private static let writable = -62_167_219_200...253_402_300_799

    /// Returns the nearest time that can be written. A disk or a clock may report any time.
    public static func clamped(_ seconds: Int) -> Int {
        min(max(seconds, writable.lowerBound), writable.upperBound)
    }

    /// Writes `seconds` since 1970, or the nearest time that can be written, into the first 29
    /// bytes of `room`.
    public static func write(_ seconds: Int, into room: UnsafeMutableRawBufferPointer) {
        precondition(room.count >= byteCount, "no room for a date")
        let seconds = clamped(seconds)
        let day = (seconds >= 0 ? seconds : seconds - 86_399) / 86_400
        let second = seconds - day * 86400
        let (year, month, dayOfMonth) = civil(day)
        text(days, (day % 7 + 7) % 7, room, 0)
        fill(room, 3, ", ")
        decimal(dayOfMonth, 2, room, 5)
        fill(room, 7, " ")
        text(months, month - 1, room, 8)
        fill(room, 11, " ")
        decimal(year, 4, room, 12)
        fill(room, 16, " ")
        decimal(second / 3600, 2, room, 17)
        fill(room, 19, ":")
        decimal(second / 60 % 60, 2, room, 20)
        fill(room, 22, ":")
        decimal(second % 60, 2, room, 23)
        fill(room, 25, " GMT")
    }

    // MARK: Digits and letters

    private static func fill(
        _ room: UnsafeMutableRawBufferPointer, _ at: Int, _ text: StaticString
    ) {
        for index in 0..<text.utf8CodeUnitCount { room[at + index] = text.utf8Start[index] }
    }

    private static func text(
        _ names: StaticString, _ number: Int, _ room: UnsafeMutableRawBufferPointer, _ at: Int
    ) {
        for index in 0..<3 { room[at + index] = names.utf8Start[number * 3 + index] }
    }

    private static func decimal(
        _ value: Int, _ digits: Int, _ room: UnsafeMutableRawBufferPointer, _ at: Int
    ) {
        var rest = value
        for index in stride(from: digits - 1, through: 0, by: -1) {
            room[at + index] = UInt8(0x30 + rest % 10)
            rest /= 10
        }
    }

    // MARK: The calendar; Howard Hinnant's algorithms, which count years from March

    static func civil(_ day: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = day + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let fromMarch = (5 * dayOfYear + 2) / 153
        let month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * fromMarch + 2) / 5 + 1)
    }

    static func daysFrom(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let shifted = month <= 2 ? year - 1 : year
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }
}
