/// Bytes to send, and checks of the received ones.

/// Returns bytes that differ from any shift of themselves within the lengths used here, so that a
/// lost, repeated or swapped byte is detected.
func pattern(_ count: Int, from start: Int = 0) -> [UInt8] {
    Array(patternTable[start..<(start + count)])
}

/// Created once: an unoptimized build needs a second for it.
private let patternTable: [UInt8] = (0..<4_200_000).map {
    UInt8(truncatingIfNeeded: $0 &* 31 &+ ($0 >> 8) &* 7 &+ ($0 >> 16) &* 3)
}

/// Describes the first difference of two byte strings, or returns nil. `#expect(a == b)` computes
/// their shortest edit script, which takes hours for a megabyte.
func mismatch(_ seen: [UInt8]?, _ expected: [UInt8]) -> String? {
    guard let seen else { return "nothing instead of \(expected.count) bytes" }
    guard seen != expected else { return nil }
    let index = zip(seen, expected).enumerated().first { $0.element.0 != $0.element.1 }?.offset
    let place = index.map { "\(seen[$0]) instead of \(expected[$0]) at \($0)" } ?? "a beginning"
    return "\(seen.count) bytes instead of \(expected.count): \(place)"
}
