/// A key with its value and its end. Confined to its shard's lock.
final class Entry {
    let key: OwnedBytes
    let hash: UInt
    /// The next one in the same bucket; the table's.
    @exclusivity(unchecked) var next: Unmanaged<Entry>?
    /// Milliseconds since 1970; `.max`: never.
    @exclusivity(unchecked) var expiry = Int.max
    /// A string's bytes, changed in place; empty for other kinds.
    @exclusivity(unchecked) var string = OwnedBytes()
    @exclusivity(unchecked) var container: Container?

    init(key: UnsafeRawBufferPointer, hash: UInt) {
        self.key = OwnedBytes(key)
        self.hash = hash
    }

    var typeName: StaticString {
        switch container {
        case nil: "string"
        case .list: "list"
        case .hash: "hash"
        case .set: "set"
        case .sortedSet: "zset"
        }
    }

    /// Takes over a string, in the memory of the old one if that is large enough.
    @inline(__always)
    func setString(_ bytes: UnsafeRawBufferPointer) {
        if container != nil { container = nil }
        string.replace(with: bytes)
    }
}

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
}

final class ByteMap {
    var values: [Bytes: [UInt8]] = [:]
}

/// Members in an array beside their places there, so that any of them is taken in constant time.
final class ByteSet {
    private(set) var members: [Bytes] = []
    private var places: [Bytes: Int] = [:]

    var count: Int { members.count }

    func contains(_ member: UnsafeRawBufferPointer) -> Bool { places[.lent(member)] != nil }

    /// False if it was there.
    func insert(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard !contains(bytes) else { return false }
        let member = Bytes(copying: bytes)
        places[member] = members.count
        members.append(member)
        return true
    }

    /// False if it was not there.
    func remove(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let place = places.removeValue(forKey: .lent(bytes)) else { return false }
        let last = members.removeLast()
        if place < members.count {
            members[place] = last
            places[last] = place
        }
        return true
    }

    /// The last `count` are chosen at random from here on.
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
}

/// A ring: both ends and every index in constant time.
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
        guard count == slots.count else { return }
        var larger: [[UInt8]] = Array(repeating: [], count: count * 2)
        for index in 0..<count { larger[index] = self[index] }
        slots = larger
        start = 0
    }
}
