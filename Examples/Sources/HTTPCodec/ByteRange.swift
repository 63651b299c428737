// The Range field with one range of bytes. A server may ignore a field with several ranges, and
// this one does.

public enum ByteRange: Sendable, Equatable {
    /// The whole file is sent: the field has no range, several ranges or another unit, or is
    /// malformed (RFC 9110, 14.2).
    case whole
    case part(Range<Int>)
    /// No byte of the range lies within the size, so the status is 416.
    case unsatisfiable

    public init(_ value: UnsafeRawBufferPointer, size: Int) {
        self = .whole
        guard value.count > 6,
            UnsafeRawBufferPointer(rebasing: value[..<6]).equalsIgnoringCase("bytes=")
        else { return }
        let spec = UnsafeRawBufferPointer(rebasing: value[6...]).trimmingBlanks()
        guard let dash = spec.firstIndex(of: 0x2D) else { return }
        let first = UnsafeRawBufferPointer(rebasing: spec[..<dash])
        let last = UnsafeRawBufferPointer(rebasing: spec[(dash + 1)...])
        if first.isEmpty {
            guard let count = Self.number(last) else { return }
            self = count == 0 || size == 0 ? .unsatisfiable : .part(max(0, size - count)..<size)
            return
        }
        guard let start = Self.number(first) else { return }
        var end = size - 1
        if !last.isEmpty {
            guard let number = Self.number(last), number >= start else { return }
            end = min(end, number)
        }
        self = start < size ? .part(start..<end + 1) : .unsatisfiable
    }

    /// Returns the decimal number, or nil if the bytes are none. A number beyond `Int.max` becomes
    /// `Int.max`, which is beyond the end of every file.
    private static func number(_ digits: UnsafeRawBufferPointer) -> Int? {
        guard !digits.isEmpty else { return nil }
        var value = 0
        for byte in digits {
            guard let digit = Byte.digit(byte) else { return nil }
            let (tenfold, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflow2) = tenfold.addingReportingOverflow(digit)
            value = overflow || overflow2 ? .max : sum
        }
        return value
    }
}

/// Returns whether the list of If-None-Match or If-Match contains `tag`, which includes its quotes.
/// `*` matches every tag. If-None-Match compares weakly. If-Match compares `strongly`, so a weak
/// tag in it never matches. A field on several lines is one list.
public func entityTags(
    _ list: UnsafeRawBufferPointer, name tag: UnsafeRawBufferPointer, strongly: Bool = false
) -> Bool {
    var isFound = false
    FieldLine.forEachValue(in: list, of: strongly ? "if-match" : "if-none-match") { value in
        if value.equals("*") { isFound = true }
        if !isFound {
            value.forEachElement { element in
                isFound = isTag(element)
                return !isFound
            }
        }
    }
    return isFound

    func isTag(_ element: UnsafeRawBufferPointer) -> Bool {
        let isWeak = element.count > 2 && element[0] == 0x57 && element[1] == Byte.slash
        let plain = isWeak && !strongly ? UnsafeRawBufferPointer(rebasing: element[2...]) : element
        return plain.count == tag.count && zip(plain, tag).allSatisfy { $0 == $1 }
    }
}
