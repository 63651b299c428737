/// The keys of one shard: a chained hash table that only grows, by doubling. Walking its buckets in
/// the order of their reversed numbers shows each key that stays at least once, also when the table
/// grows in between: the way of Redis's SCAN.
struct Table {
    private var buckets: [Entry?] = Array(repeating: nil, count: 16)
    private(set) var count = 0

    func find(_ key: UnsafeRawBufferPointer, _ hash: UInt) -> Entry? {
        var place = buckets[bucket(of: hash)]
        while let entry = place {
            if entry.hash == hash, entry.key.withUnsafeBytes({ areEqual($0, key) }) { return entry }
            place = entry.next
        }
        return nil
    }

    /// The key must not be there.
    mutating func insert(_ entry: Entry) {
        if count == buckets.count { grow() }
        push(entry)
        count += 1
    }

    mutating func remove(_ removed: Entry) {
        let number = bucket(of: removed.hash)
        count -= 1
        guard let first = buckets[number], first !== removed else {
            buckets[number] = removed.next
            return
        }
        var before = first
        while let entry = before.next, entry !== removed { before = entry }
        before.next = removed.next
    }

    mutating func removeAll() { self = Table() }

    func forEach(_ body: (Entry) -> Void) {
        for number in buckets.indices { forEach(in: number, body) }
    }

    /// Shows one bucket and returns the next cursor, 0 after the last.
    func walk(_ cursor: UInt, _ body: (Entry) -> Void) -> UInt {
        let mask = UInt(buckets.count - 1)
        forEach(in: Int(cursor & mask), body)
        return reversed(reversed(cursor | ~mask) &+ 1)
    }

    private func forEach(in number: Int, _ body: (Entry) -> Void) {
        var place = buckets[number]
        while let entry = place {
            place = entry.next
            body(entry)
        }
    }

    /// The low bits choose the shard.
    private func bucket(of hash: UInt) -> Int {
        Int((hash >> Store.shardBits) & UInt(buckets.count - 1))
    }

    private mutating func push(_ entry: Entry) {
        let number = bucket(of: entry.hash)
        entry.next = buckets[number]
        buckets[number] = entry
    }

    private mutating func grow() {
        let old = buckets
        buckets = Array(repeating: nil, count: old.count * 2)
        for first in old {
            var place = first
            while let entry = place {
                place = entry.next
                push(entry)
            }
        }
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
