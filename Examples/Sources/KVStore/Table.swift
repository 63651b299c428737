/// The keys of one shard: a chained hash table that doubles when it is full, and shrinks on request
/// while it is nearly empty. A walk visits the buckets in the order of their reversed numbers, like
/// Redis's SCAN. It shows each key that stays at least once, even when the table grows or shrinks
/// in between.
///
/// The table owns its entries by hand, so that a walk along a chain retains and releases no entry.
struct Table: ~Copyable {
    private typealias Buckets = UnsafeMutableBufferPointer<Unmanaged<Entry>?>

    private static let fewest = 16

    private var buckets = Self.empty(fewest)
    private(set) var count = 0

    deinit {
        for first in buckets {
            var place = first
            while let entry = place {
                place = entry._withUnsafeGuaranteedRef { $0.next }
                entry.release()
            }
        }
        buckets.deallocate()
    }

    private static func empty(_ count: Int) -> Buckets {
        let buckets = Buckets.allocate(capacity: count)
        buckets.initialize(repeating: nil)
        return buckets
    }

    /// Returns the entry of a key, which stays valid until it is removed; nil if there is none.
    @inline(__always)
    func find(_ key: UnsafeRawBufferPointer, _ hash: UInt) -> Unmanaged<Entry>? {
        var place = buckets[bucket(of: hash)]
        while let entry = place {
            let isFound = entry._withUnsafeGuaranteedRef {
                $0.hash == hash && areEqual($0.key.bytes, key)
            }
            if isFound { return entry }
            place = entry._withUnsafeGuaranteedRef { $0.next }
        }
        return nil
    }

    /// Inserts an entry. The key must not exist.
    mutating func insert(_ entry: Entry) {
        if count == buckets.count { grow() }
        push(Unmanaged.passRetained(entry))
        count += 1
    }

    mutating func remove(_ removed: Entry) {
        let number = bucket(of: removed.hash)
        var before: Entry?
        var place = buckets[number]?.takeUnretainedValue()
        while let entry = place, entry !== removed {
            before = entry
            place = entry.next?.takeUnretainedValue()
        }
        precondition(place != nil, "removed a key that is not there")
        if let before { before.next = removed.next } else { buckets[number] = removed.next }
        count -= 1
        Unmanaged.passUnretained(removed).release()
    }

    mutating func removeAll() { self = Table() }

    func forEach(_ body: (Entry) -> Void) {
        for number in buckets.indices { forEach(in: number, body) }
    }

    /// Calls `body` with the entries of one bucket and returns the next cursor, 0 after the last
    /// bucket.
    func walk(_ cursor: UInt, _ body: (Entry) -> Void) -> UInt {
        let mask = UInt(buckets.count - 1)
        forEach(in: Int(cursor & mask), body)
        return reversed(reversed(cursor | ~mask) &+ 1)
    }

    private func forEach(in number: Int, _ body: (Entry) -> Void) {
        var place = buckets[number]
        while let entry = place?.takeUnretainedValue() {
            place = entry.next
            body(entry)
        }
    }

    /// Returns the bucket of a hash, whose low bits select the shard.
    @inline(__always)
    private func bucket(of hash: UInt) -> Int {
        Int((hash >> Store.shardBits) & UInt(buckets.count - 1))
    }

    private mutating func push(_ owned: Unmanaged<Entry>) {
        owned._withUnsafeGuaranteedRef { entry in
            let number = bucket(of: entry.hash)
            entry.next = buckets[number]
            buckets[number] = owned
        }
    }

    var bucketCount: Int { buckets.count }

    /// Shrinks to two to four buckets for each key, at least 16, if there are fewer keys than a
    /// tenth of the buckets. The time grows with the number of buckets, but a shard has few keys.
    mutating func shrink() -> Bool {
        guard buckets.count > Self.fewest, count * 10 < buckets.count else { return false }
        var wanted = Self.fewest
        while wanted < count * 2 { wanted *= 2 }
        resize(to: wanted)
        return true
    }

    private mutating func grow() { resize(to: buckets.count * 2) }

    private mutating func resize(to size: Int) {
        let old = buckets
        buckets = Self.empty(size)
        for first in old {
            var place = first
            while let entry = place {
                place = entry._withUnsafeGuaranteedRef { $0.next }
                push(entry)
            }
        }
        old.deallocate()
    }
}

private func reversed(_ value: UInt) -> UInt {
    var (result, rest) = (value.byteSwapped, UInt(0x0F0F_0F0F_0F0F_0F0F))
    result = (result >> 4) & rest | (result & rest) << 4
    rest = 0x3333_3333_3333_3333
    result = (result >> 2) & rest | (result & rest) << 2
    rest = 0x5555_5555_5555_5555
    return (result >> 1) & rest | (result & rest) << 1
}
