/// The value of a key that holds no string.
enum Container {
    case list(ByteList)
    case hash(ByteMap)
    case set(ByteSet)
    case sortedSet(SortedSet)

    var isEmpty: Bool {
        switch self {
        case .list(let list): list.count == 0
        case .hash(let map): map.values.isEmpty
        case .set(let set): set.count == 0
        case .sortedSet(let set): set.count == 0
        }
    }

    /// Frees memory that the remaining members do not need. Returns the number of members for which
    /// there was room in it.
    func shrink() -> Int {
        switch self {
        case .list(let list): list.shrink()
        case .hash(let map): map.values.shrink()
        case .set(let set): set.shrink()
        case .sortedSet(let set): set.shrink()
        }
    }
}

final class ByteMap {
    var values: [Bytes: [UInt8]] = [:]
}

/// A set with its members in an array and their places there, so that a random member is removed in
/// constant time.
final class ByteSet {
    private(set) var members: [Bytes] = []
    private var places: [Bytes: Int] = [:]

    var count: Int { members.count }

    func contains(_ member: UnsafeRawBufferPointer) -> Bool { places[.lent(member)] != nil }

    /// Inserts a member; returns false if the set already contains it.
    func insert(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard !contains(bytes) else { return false }
        let member = Bytes(copying: bytes)
        places[member] = members.count
        members.append(member)
        return true
    }

    /// Removes a member; returns false if the set does not contain it.
    func remove(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let place = places.removeValue(forKey: .lent(bytes)) else { return false }
        let last = members.removeLast()
        if place < members.count {
            members[place] = last
            places[last] = place
        }
        return true
    }

    /// Moves `count` random members to the end of the array.
    func shuffleLast(_ count: Int) {
        for end in stride(from: members.count - 1, through: members.count - count, by: -1) {
            let place = Int.random(in: 0...end)
            guard place != end else { continue }
            members.swapAt(place, end)
            places[members[place]] = place
            places[members[end]] = end
        }
    }

    func removeLast(_ count: Int) {
        for member in members.suffix(count) { places[member] = nil }
        members.removeLast(count)
    }

    func shrink() -> Int {
        let freed = places.shrink()
        // `Array(members)` would keep the storage.
        if freed > 0 { members = members.withUnsafeBufferPointer { Array($0) } }
        return freed
    }

    /// The number of members for which there is memory.
    var capacity: Int { max(places.capacity, members.capacity) }
}

/// A list in a ring, with constant time for both ends and every index.
final class ByteList {
    private var slots: [[UInt8]] = Array(repeating: [], count: 4)
    private var start = 0
    private(set) var count = 0

    subscript(_ index: Int) -> [UInt8] { slots[(start + index) & (slots.count - 1)] }

    func append(_ bytes: UnsafeRawBufferPointer) {
        growIfFull()
        slots[(start + count) & (slots.count - 1)] = [UInt8](bytes)
        count += 1
    }

    func prepend(_ bytes: UnsafeRawBufferPointer) {
        growIfFull()
        start = (start - 1) & (slots.count - 1)
        slots[start] = [UInt8](bytes)
        count += 1
    }

    func removeFirst() {
        slots[start] = []
        count -= 1
        start = (start + 1) & (slots.count - 1)
    }

    func removeLast() {
        count -= 1
        slots[(start + count) & (slots.count - 1)] = []
    }

    private func growIfFull() {
        if count == slots.count { move(to: count * 2) }
    }

    func shrink() -> Int {
        let before = slots.count
        var size = before
        while isSparse(count, capacity: size) { size /= 2 }
        if size < before { move(to: size) }
        return before - size
    }

    private func move(to size: Int) {
        var others: [[UInt8]] = Array(repeating: [], count: size)
        for index in 0..<count { others[index] = self[index] }
        slots = others
        start = 0
    }

    /// The number of members for which there is memory.
    var capacity: Int { slots.count }
}

/// Returns whether a container should shrink. Small containers keep their memory; of others, a
/// quarter must be in use. Moving the remaining members thus costs less than the removals before.
private func isSparse(_ count: Int, capacity: Int) -> Bool { capacity > 64 && count < capacity / 4 }

extension Dictionary {
    /// Frees unused memory. Returns the number of elements that fitted into it.
    mutating func shrink() -> Int {
        let before = capacity
        guard isSparse(count, capacity: before) else { return 0 }
        var others = Dictionary(minimumCapacity: count * 2)
        for (key, value) in self { others[key] = value }
        self = others
        return before - capacity
    }
}
