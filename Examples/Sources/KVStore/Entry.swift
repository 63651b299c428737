/// A key with its value and its expiry. Confined to its shard's lock.
final class Entry {
    let key: OwnedBytes
    let hash: UInt
    /// The next entry in the same bucket; only the table uses it.
    @exclusivity(unchecked) var next: Unmanaged<Entry>?
    /// The expiry in milliseconds since 1970; `.max` means never.
    @exclusivity(unchecked) var expiry = Int.max
    /// The bytes of a string, changed in place; empty for other types.
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

    /// Stores a string, in the memory of the old one if that is large enough.
    @inline(__always)
    func setString(_ bytes: UnsafeRawBufferPointer) {
        if container != nil { container = nil }
        string.replace(with: bytes)
    }
}
