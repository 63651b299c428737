/// Bytes to send, and what became of them.

/// Different from any shift of itself within the lengths used here, so that a lost, doubled or
/// exchanged byte shows.
func pattern(_ count: Int, from start: Int = 0) -> [UInt8] {
    Array(patternTable[start..<(start + count)])
}

/// Made once: an unoptimized build takes a second for it.
private let patternTable: [UInt8] = (0..<4_200_000).map {
    UInt8(truncatingIfNeeded: $0 &* 31 &+ ($0 >> 8) &* 7 &+ ($0 >> 16) &* 3)
}

/// Where two byte strings part, in words, or nil. `#expect(a == b)` looks for the shortest way from
/// one to the other, which takes hours for a megabyte.
func mismatch(_ seen: [UInt8]?, _ expected: [UInt8]) -> String? {
    guard let seen else { return "nothing instead of \(expected.count) bytes" }
    guard seen != expected else { return nil }
    let index = zip(seen, expected).enumerated().first { $0.element.0 != $0.element.1 }?.offset
    let place = index.map { "\(seen[$0]) instead of \(expected[$0]) at \($0)" } ?? "a beginning"
    return "\(seen.count) bytes instead of \(expected.count): \(place)"
}
