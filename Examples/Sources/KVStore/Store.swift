import Glibc
import Synchronization

/// All keys, for all loops: a fixed number of shards, each behind a lock, chosen by the key's hash.
///
/// Every loop executes its commands in place, so replies keep their order without any waiting for
/// other loops. A command on one key holds one lock and is atomic; one on several keys holds the
/// locks of all their shards, taken in the order of their numbers, and is atomic too. Only KEYS,
/// SCAN and DBSIZE look at one shard after the other.
public final class Store: Sendable {
    static let shardBits = 6
    static let shardCount = 1 << shardBits
    /// Who sweeps; each has its part of the shards.
    private let sweepers = Atomic(0)
    /// The shard that a sweep begins with; whose sweep, does not matter.
    private let sweepStart = Atomic(0)
    /// Many keys have gone, and what they had is kept for others by malloc.
    private let hasFreeMemory = Atomic(false)
    /// Keys whose time was over and that a sweep removed.
    let swept = Atomic(0)
    private let shards: [Shard]
    /// The same without counting references: the one that a command uses is not retained.
    private let lent: [Unmanaged<Shard>]
    private let hasher = KeyHash()

    init(isShared: Bool) {
        shards = (0..<Self.shardCount).map { _ in Shard(isShared: isShared) }
        lent = shards.map { Unmanaged.passUnretained($0) }
    }

    func hash(_ key: UnsafeRawBufferPointer) -> UInt { hasher(key) }

    static func shard(of hash: UInt) -> Int { Int(hash & UInt(shardCount - 1)) }

    /// Runs `body` alone with the shard of `key`.
    @inline(__always)
    func withShard<R>(of key: UnsafeRawBufferPointer, _ body: (Shard, UInt) -> R) -> R {
        let hash = hasher(key)
        return lent[Self.shard(of: hash)]._withUnsafeGuaranteedRef { shard in
            shard.alone { body(shard, hash) }
        }
    }

    /// Runs `body` alone with all the shards of `keys`, which it gets by `shard(_:)`.
    func withShards<R>(of keys: some Sequence<UnsafeRawBufferPointer>, _ body: () -> R) -> R {
        var wanted: UInt64 = 0
        for key in keys { wanted |= 1 << UInt64(Self.shard(of: hash(key))) }
        return withShards(wanted, body)
    }

    private func withShards<R>(_ wanted: UInt64, _ body: () -> R) -> R {
        guard wanted != 0 else { return body() }
        let rest = wanted & (wanted - 1)
        return shards[wanted.trailingZeroBitCount].alone { withShards(rest, body) }
    }

    /// Runs `body` alone with all keys; commands that it executes take locks once more.
    package func aloneWithAll(_ body: () -> Void) { withShards(.max, body) }

    /// For who holds its lock.
    func lockedShard(_ hash: UInt) -> Shard { shards[Self.shard(of: hash)] }

    func forEachShard(_ body: (Shard) -> Void) {
        for shard in shards { shard.alone { body(shard) } }
    }

    func removeAll() {
        withShards(.max) { for shard in shards { shard.removeAll() } }
        hasFreeMemory.store(true, ordering: .relaxed)
    }

    /// Takes a cursor on: shows some keys, at least `count` unless the end comes. The cursor's low
    /// bits are the shard, the others that table's own.
    func scan(_ cursor: UInt, atLeast count: Int, _ now: Int, _ body: (Entry) -> Void) -> UInt {
        var number = Int(cursor & UInt(Self.shardCount - 1))
        var inner = cursor >> UInt(Self.shardBits)
        var shown = 0
        // Empty buckets cost time too.
        var left = max(2000, min(count, 1 << 20) * 10)
        while shown < count, left > 0 {
            let shard = shards[number]
            // Reversed cursors have their highest bits free for the shard's number.
            inner = shard.alone {
                shard.walk(inner, now) {
                    shown += 1
                    body($0)
                }
            }
            left -= 1
            if inner == 0 {
                number += 1
                if number == Self.shardCount { return 0 }
            }
        }
        return inner << UInt(Self.shardBits) | UInt(number)
    }

    /// The number of one more who sweeps.
    public func addSweeper() -> Int { sweepers.add(1, ordering: .relaxed).oldValue }

    /// Removes keys whose time is over, which nobody may ever ask for again, and gives back buckets
    /// that too few keys use. Each sweeper looks at its part of the shards: at some keys of each,
    /// and again at those where more than a quarter of the keys that have an end were dead, until
    /// that is not so or `time`, in nanoseconds, has passed. True if it has: soon again.
    @discardableResult
    public func sweep(by sweeper: Int = 0, within time: Int = 2_000_000) -> Bool {
        let now = Clock.milliseconds()
        let end = Clock.monotonic() + time
        let count = max(1, sweepers.load(ordering: .relaxed))
        var (removed, isBehind, hasShrunk) = (0, false, false)
        // Where the last one stopped, for want of time, comes first.
        let first = sweepStart.load(ordering: .relaxed)
        var number = first
        repeat {
            if number % count == sweeper % count {
                let shard = shards[number]
                repeat {
                    // A dear command of another loop must not hold up this one's clients.
                    guard let found = shard.aloneIfFree({ shard.sweep(now) }) else { break }
                    removed += found.dead
                    isBehind = Clock.monotonic() >= end
                    if found.dead * 4 <= found.expiring { break }
                } while !isBehind
                if shard.aloneIfFree({ shard.shrink() }) == true { hasShrunk = true }
            }
            if !isBehind || number % count != sweeper % count {
                number = (number + 1) % Self.shardCount
            }
        } while !isBehind && number != first
        sweepStart.store(number, ordering: .relaxed)
        if removed > 0 { swept.add(removed, ordering: .relaxed) }
        giveBackMemory(isLater: hasShrunk)
        return isBehind
    }

    /// Once when many keys have gone, and not while more go: it takes some milliseconds.
    private func giveBackMemory(isLater: Bool) {
        if isLater {
            hasFreeMemory.store(true, ordering: .relaxed)
        } else if hasFreeMemory.exchange(false, ordering: .relaxed) {
            FreeMemory.giveBack()
        }
    }
}

// `table` and what it leads to are touched only inside `alone`, which holds the lock, or by the one
// thread that there is.
final class Shard: @unchecked Sendable {
    /// Buckets and keys that one look of a sweep takes, with the lock held.
    private static let sweptBuckets = 256
    private static let sweptKeys = 64

    private let lock = Lock(isRecursive: true)
    private let isShared: Bool
    @exclusivity(unchecked) private var table = Table()
    @exclusivity(unchecked) private var sweepCursor: UInt = 0
    /// Keys that have an end.
    @exclusivity(unchecked) private(set) var expiring = 0

    init(isShared: Bool) { self.isShared = isShared }

    @inline(__always)
    func alone<R>(_ body: () -> R) -> R { isShared ? lock.alone(body) : body() }

    /// Nil, and nothing done, while a command of another loop has it.
    @inline(__always)
    func aloneIfFree<R>(_ body: () -> R) -> R? { isShared ? lock.aloneIfFree(body) : body() }

    var count: Int { table.count }

    /// The live entry of a key; one whose time is over is removed first.
    func find(
        _ key: UnsafeRawBufferPointer, _ hash: UInt, _ now: @autoclosure () -> Int
    ) -> Entry? {
        lend(key, hash, now())?.takeUnretainedValue()
    }

    /// The same without retaining it: for the commonest commands, and only until it is removed.
    @inline(__always)
    func lend(
        _ key: UnsafeRawBufferPointer, _ hash: UInt, _ now: @autoclosure () -> Int
    ) -> Unmanaged<Entry>? {
        guard let entry = table.find(key, hash) else { return nil }
        let expiry = entry._withUnsafeGuaranteedRef { $0.expiry }
        // Most keys have no end, and then the clock need not be read.
        guard expiry == .max || expiry > now() else {
            remove(entry.takeUnretainedValue())
            return nil
        }
        return entry
    }

    /// As `find`, or a new entry without a value.
    func findOrInsert(
        _ key: UnsafeRawBufferPointer, _ hash: UInt, _ now: @autoclosure () -> Int
    ) -> Entry {
        find(key, hash, now()) ?? insert(key, hash)
    }

    /// The key must not be there.
    @inline(never)
    func insert(_ key: UnsafeRawBufferPointer, _ hash: UInt) -> Entry {
        let entry = Entry(key: key, hash: hash)
        table.insert(entry)
        return entry
    }

    func remove(_ entry: Entry) {
        setExpiry(of: entry, .max)
        table.remove(entry)
    }

    func removeAll() {
        table.removeAll()
        expiring = 0
    }

    func setExpiry(of entry: Entry, _ expiry: Int) {
        if entry.expiry != .max { expiring -= 1 }
        if expiry != .max { expiring += 1 }
        entry.expiry = expiry
    }

    func forEach(_ now: Int, _ body: (Entry) -> Void) {
        table.forEach { if $0.expiry > now { body($0) } }
    }

    func walk(_ cursor: UInt, _ now: Int, _ body: (Entry) -> Void) -> UInt {
        table.walk(cursor) { if $0.expiry > now { body($0) } }
    }

    /// Looks at some buckets, more if few keys have an end, and removes what is dead. Returns how
    /// many keys with an end it found, and how many of these were dead.
    func sweep(_ now: Int) -> (expiring: Int, dead: Int) {
        guard expiring > 0 else { return (0, 0) }
        var dead: [Entry] = []
        var (seen, left) = (0, Self.sweptBuckets)
        while left > 0, seen < Self.sweptKeys {
            sweepCursor = table.walk(sweepCursor) { entry in
                guard entry.expiry != .max else { return }
                seen += 1
                if entry.expiry <= now { dead.append(entry) }
            }
            left -= 1
            if sweepCursor == 0 { break }
        }
        for entry in dead where entry.expiry <= now { remove(entry) }
        return (seen, dead.count)
    }

    /// False if it has few enough buckets.
    func shrink() -> Bool { table.shrink() }

    var bucketCount: Int { table.bucketCount }
}

/// The time of expiries.
public enum Clock {
    /// Since 1970.
    public static func milliseconds() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }

    /// In nanoseconds, for how long something takes.
    static func monotonic() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
}
