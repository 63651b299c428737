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

    var isEmpty: Bool {
        switch self {
        case .list(let list): list.count == 0
        case .hash(let map): map.values.isEmpty
        case .set(let set): set.members.isEmpty
        }
    }
}

final class ByteMap {
    var values: [Bytes: [UInt8]] = [:]
}

final class ByteSet {
    var members: Set<Bytes> = []
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
