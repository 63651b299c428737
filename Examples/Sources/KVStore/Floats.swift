import Glibc

// Numbers with a fraction, read and shown like in Redis: by the functions of C, in Redis's
// precision.

#if arch(x86_64)
typealias LongDouble = Float80
#else
typealias LongDouble = Double
#endif

extension Double {
    /// Parses a number; nil if the text is no number or the number does not fit.
    init?(text: UnsafeRawBufferPointer) {
        guard let value = converted(text, strtod) else { return nil }
        guard !value.isNaN, errno != ERANGE || value.isFinite && value != 0 else { return nil }
        self = value
    }

    /// Calls `body` with as many digits as distinguish the number from every other.
    func withDigits<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        // Redis shows zero without a sign.
        formatted("%.17g", self == 0 ? 0 : self, body)
    }
}

extension LongDouble {
    /// The size of the buffer in bytes. The longest number has 4932 digits before the point.
    private static let longest = 5 * 1024

    init?(plainText text: UnsafeRawBufferPointer) {
        #if arch(x86_64)
        let parsed = converted(text, strtold)
        #else
        let parsed = converted(text, strtod)
        #endif
        guard let value = parsed else { return nil }
        guard !value.isNaN, errno != ERANGE || value.isFinite && value != 0 else { return nil }
        self = value
    }

    /// Calls `body` with the digits, without an exponent and without zeros at the end.
    func withPlainDigits<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        #if arch(x86_64)
        let format = "%.17Lf"
        #else
        let format = "%.17f"
        #endif
        return formatted(format, self, capacity: Self.longest) { digits in
            var end = digits.count
            while end > 0, digits[end - 1] == UInt8(ascii: "0") { end -= 1 }
            if end > 0, digits[end - 1] == UInt8(ascii: ".") { end -= 1 }
            let shown = UnsafeRawBufferPointer(rebasing: digits[..<end])
            guard shown.elementsEqual("-0".utf8) else { return body(shown) }
            return body(UnsafeRawBufferPointer(rebasing: shown[1...]))
        }
    }
}

/// Returns the number in `text`; nil unless the whole text is a number, no longer than Redis
/// accepts. `errno` is ERANGE if the number does not fit.
private func converted<T>(
    _ text: UnsafeRawBufferPointer,
    _ parse: (UnsafePointer<CChar>, UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> T
) -> T? {
    let isBlank = text.first.map { $0 == 0x20 || 0x09...0x0D ~= $0 } ?? true
    guard !isBlank, text.count <= 5 * 1024 else { return nil }
    return withUnsafeTemporaryAllocation(of: CChar.self, capacity: text.count + 1) { copy in
        UnsafeMutableRawBufferPointer(copy).copyMemory(from: text)
        copy[text.count] = 0
        let start = copy.baseAddress!
        var end: UnsafeMutablePointer<CChar>?
        errno = 0
        let value = parse(start, &end)
        return end == start + text.count ? value : nil
    }
}

private func formatted<T: CVarArg, R>(
    _ format: String, _ value: T, capacity: Int = 64, _ body: (UnsafeRawBufferPointer) -> R
) -> R {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: capacity) { buffer in
        let count = withVaList([value]) {
            vsnprintf(buffer.baseAddress!, buffer.count, format, $0)
        }
        return body(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<Int(count)]))
    }
}
