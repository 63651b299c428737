/// Returns whether the key matches a glob pattern of Redis: `*`, `?`, `[a-z]`, `[^…]`, and a
/// backslash before a byte that stands for itself.
///
/// The search goes back to the last `*` only, so a hostile pattern costs at most its length times
/// the key's.
func matches(_ pattern: UnsafeRawBufferPointer, _ key: UnsafeRawBufferPointer) -> Bool {
    var (place, index) = (0, 0)
    var retry: (place: Int, index: Int)?
    while true {
        if place < pattern.count, pattern[place] == UInt8(ascii: "*") {
            place += 1
            retry = (place, index)
            continue
        }
        if index == key.count, place == pattern.count { return true }
        if index < key.count, place < pattern.count,
            let after = matchOne(pattern, place, key[index])
        {
            place = after
            index += 1
            continue
        }
        guard let last = retry, last.index < key.count else { return false }
        retry = (last.place, last.index + 1)
        (place, index) = (last.place, last.index + 1)
    }
}

/// Returns the index after the part of the pattern that matches one byte; nil if it does not match.
private func matchOne(_ pattern: UnsafeRawBufferPointer, _ start: Int, _ byte: UInt8) -> Int? {
    var place = start
    switch pattern[place] {
    case UInt8(ascii: "?"): return place + 1
    case UInt8(ascii: "["): return matchClass(pattern, place + 1, byte)
    case UInt8(ascii: "\\"):
        if place + 1 < pattern.count { place += 1 }
        return pattern[place] == byte ? place + 1 : nil
    default: return pattern[place] == byte ? place + 1 : nil
    }
}

private func matchClass(_ pattern: UnsafeRawBufferPointer, _ start: Int, _ byte: UInt8) -> Int? {
    var place = start
    let isNegated = place < pattern.count && pattern[place] == UInt8(ascii: "^")
    if isNegated { place += 1 }
    var found = false
    while place < pattern.count, pattern[place] != UInt8(ascii: "]") {
        if pattern[place] == UInt8(ascii: "\\"), place + 1 < pattern.count {
            place += 1
            found = found || pattern[place] == byte
        } else if place + 2 < pattern.count, pattern[place + 1] == UInt8(ascii: "-") {
            let (one, other) = (pattern[place], pattern[place + 2])
            found = found || min(one, other)...max(one, other) ~= byte
            place += 2
        } else {
            found = found || pattern[place] == byte
        }
        place += 1
    }
    return found != isNegated ? min(place + 1, pattern.count) : nil
}
