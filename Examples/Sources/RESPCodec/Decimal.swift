/// Whole numbers in the form that Redis accepts: no blanks, no plus sign, no leading zeros, and no
/// bytes after the number.
public enum Decimal {
    /// Returns the number in `bytes`; nil if the bytes are no number or the number does not fit.
    public static func parse(_ bytes: UnsafeRawBufferPointer) -> Int? {
        parse(bytes, 0, bytes.count)
    }

    @inline(__always)
    static func parse(_ bytes: UnsafeRawBufferPointer, _ start: Int, _ end: Int) -> Int? {
        guard start < end else { return nil }
        let isNegative = bytes[start] == UInt8(ascii: "-")
        let first = isNegative ? start + 1 : start
        guard first < end else { return nil }
        if bytes[first] == UInt8(ascii: "0") {
            return first + 1 == end && !isNegative ? 0 : nil
        }
        // Every Int fits in 19 digits. Only a longer number could overflow.
        guard end - first <= 19 else { return nil }
        var magnitude: UInt = 0
        for index in first..<end {
            let digit = UInt(bytes[index] &- UInt8(ascii: "0"))
            guard digit <= 9 else { return nil }
            magnitude = magnitude &* 10 &+ digit
        }
        if isNegative {
            guard magnitude <= Int.min.magnitude else { return nil }
            return Int(truncatingIfNeeded: 0 &- magnitude)
        }
        return Int(exactly: magnitude)
    }
}
