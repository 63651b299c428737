import Glibc
import Synchronization

/// All keys, for all loops: a fixed number of shards, each with a lock, chosen by the key's hash.
///
/// Every loop executes its commands in place, so replies keep their order without waiting for other
/// loops. A command on one key holds one lock and is atomic. A command on several keys holds the
/// locks of all their shards, locked in the order of their numbers, and is atomic too. Only KEYS,
/// SCAN and DBSIZE visit one shard after the other.
public final class Store: Sendable {
    static let shardBits = 6
    static let shardCount = 1 << shardBits
    /// The number of sweepers; each has its part of the shards.
    private let sweepers = Atomic(0)
    /// The shard at which the next sweep of any sweeper begins.
    private let sweepStart = Atomic(0)
    /// Whether many keys were removed whose memory malloc keeps.
    private let hasFreeMemory = Atomic(false)
    /// The number of expired keys that sweeps removed.
    let swept = Atomic(0)
    /// When `FreeMemory` last ran, in nanoseconds of the monotonic clock.
    private let memoryGivenBack = Atomic(0)
    private let shards: [Shard]
    /// The shards without reference counting, so that a command does not retain its shard.
    private let lent: [Unmanaged<Shard>]
    private let hasher = KeyHash()

    init(isShared: Bool) {
        shards = (0..<Self.shardCount).map { _ in Shard(isShared: isShared) }
        lent = shards.map { Unmanaged.passUnretained($0) }
    }

    func hash(_ key: UnsafeRawBufferPointer) -> UInt { hasher(key) }

    static func shard(of hash: UInt) -> Int { Int(hash & UInt(shardCount - 1)) }

    /// Runs `body` with exclusive access to the shard of `key`.
    @inline(__always)
    func withShard<R>(of key: UnsafeRawBufferPointer, _ body: (Shard, UInt) -> R) -> R {
        let hash = hasher(key)
        return lent[Self.shard(of: hash)]._withUnsafeGuaranteedRef { shard in
            shard.alone { body(shard, hash) }
        }
    }

    /// Runs `body` with exclusive access to all shards of `keys`, which `lockedShard(_:)` returns.
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

    /// Runs `body` with exclusive access to all keys. Commands in `body` can lock the recursive
    /// locks again.
    package func aloneWithAll(_ body: () -> Void) { withShards(.max, body) }

    /// Returns the shard of a hash. The caller must hold its lock.
    func lockedShard(_ hash: UInt) -> Shard { shards[Self.shard(of: hash)] }

    func forEachShard(_ body: (Shard) -> Void) {
        for shard in shards { shard.alone { body(shard) } }
    }

    func removeAll() {
        withShards(.max) { for shard in shards { shard.removeAll() } }
        hasFreeMemory.store(true, ordering: .relaxed)
    }

    /// Calls `body` with some keys from `cursor` on and returns the next cursor, 0 at the end.
    /// There are at least `count` keys, unless the end or a limit of buckets is reached. The low
    /// bits of the cursor are the shard's number, and the others belong to its table.
    func scan(_ cursor: UInt, atLeast count: Int, _ now: Int, _ body: (Entry) -> Void) -> UInt {
        var number = Int(cursor & UInt(Self.shardCount - 1))
        var inner = cursor >> UInt(Self.shardBits)
        var shown = 0
        // The number of buckets is limited, since empty buckets cost time too.
        var left = max(2000, min(count, 1 << 20) * 10)
        while shown < count, left > 0 {
            let shard = shards[number]
            // Reversed cursors leave their highest bits free, so that the shard's number fits.
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

    /// Adds a sweeper and returns its number.
    public func addSweeper() -> Int { sweepers.add(1, ordering: .relaxed).oldValue }

    /// Removes expired keys, which no client may ever read again, and frees buckets that too few
    /// keys use. Each sweeper examines some keys in each shard of its part. It repeats a shard
    /// while more than a quarter of the examined keys with an expiry had expired, until `time`, in
    /// nanoseconds, has passed. Returns true if the time has passed; the caller should then sweep
    /// again soon.
    @discardableResult
    public func sweep(by sweeper: Int = 0, within time: Int = 2_000_000) -> Bool {
        let now = Clock.milliseconds()
        let end = Clock.monotonic() + time
        let count = max(1, sweepers.load(ordering: .relaxed))
        var (removed, isBehind, hasShrunk) = (0, false, false)
        // A sweep begins where the last one ran out of time.
        let first = sweepStart.load(ordering: .relaxed)
        var number = first
        repeat {
            if number % count == sweeper % count {
                let shard = shards[number]
                repeat {
                    // An expensive command of another loop must not delay this loop's clients.
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

    /// Frees malloc's memory once after many keys were removed, and not while more are being
    /// removed: it needs some milliseconds.
    private func giveBackMemory(isLater: Bool) {
        if isLater { hasFreeMemory.store(true, ordering: .relaxed) }
        // Clients must not be able to cause it all the time, nor to postpone it for ever.
        let now = Clock.monotonic()
        let last = memoryGivenBack.load(ordering: .relaxed)
        guard now - last >= (isLater ? 5_000_000_000 : 1_000_000_000),
            hasFreeMemory.exchange(false, ordering: .relaxed)
        else { return }
        memoryGivenBack.store(now, ordering: .relaxed)
        FreeMemory.giveBack()
    }
}

// `table` and its entries are accessed only inside `alone`, which holds the lock, or by the only
// thread.
final class Shard: @unchecked Sendable {
    /// The buckets and the keys that one pass of a sweep examines while the lock is held.
    private static let sweptBuckets = 256
    private static let sweptKeys = 64

    private let lock = Lock(isRecursive: true)
    private let isShared: Bool
    @exclusivity(unchecked) private var table = Table()
    @exclusivity(unchecked) private var sweepCursor: UInt = 0
    /// Whether a container has shrunk since the last sweep.
    @exclusivity(unchecked) private var hasShrunk = false
    /// The number of keys with an expiry.
    @exclusivity(unchecked) private(set) var expiring = 0

    init(isShared: Bool) { self.isShared = isShared }

    @inline(__always)
    func alone<R>(_ body: () -> R) -> R { isShared ? lock.alone(body) : body() }

    /// Like `alone`, but returns nil without a call of `body` while another loop holds the lock.
    @inline(__always)
    func aloneIfFree<R>(_ body: () -> R) -> R? { isShared ? lock.aloneIfFree(body) : body() }

    var count: Int { table.count }

    /// Returns the live entry of a key; an expired entry is removed first.
    func find(
        _ key: UnsafeRawBufferPointer, _ hash: UInt, _ now: @autoclosure () -> Int
    ) -> Entry? {
        lend(key, hash, now())?.takeUnretainedValue()
    }

    /// Like `find`, but does not retain the entry. For the most common commands; valid until the
    /// entry is removed.
    @inline(__always)
    func lend(
        _ key: UnsafeRawBufferPointer, _ hash: UInt, _ now: @autoclosure () -> Int
    ) -> Unmanaged<Entry>? {
        guard let entry = table.find(key, hash) else { return nil }
        let expiry = entry._withUnsafeGuaranteedRef { $0.expiry }
        // Most keys have no expiry, so the clock is not read for them.
        guard expiry == .max || expiry > now() else {
            remove(entry.takeUnretainedValue())
            return nil
        }
        return entry
    }

    /// Like `find`, but inserts an entry without a value if there is none.
    func findOrInsert(
        _ key: UnsafeRawBufferPointer, _ hash: UInt, _ now: @autoclosure () -> Int
    ) -> Entry {
        find(key, hash, now()) ?? insert(key, hash)
    }

    /// Inserts an entry without a value. The key must not exist.
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

    /// Less memory than for so many members is not worth a search for free pages.
    private static let muchRoom = 4096

    /// Removes a key whose container is empty, since an empty container is no key. Frees unused
    /// memory of other containers.
    func membersRemoved(from entry: Entry) {
        guard let container = entry.container else { return }
        if container.isEmpty {
            remove(entry)
        } else if container.shrink() >= Self.muchRoom {
            hasShrunk = true
        }
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

    /// Examines some buckets, more if few keys have an expiry, and removes expired keys. Returns
    /// the number of keys with an expiry that it found, and how many of these had expired.
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

    /// Frees unused buckets. Returns false if no bucket was freed and no container has shrunk since
    /// the last call.
    func shrink() -> Bool {
        defer { hasShrunk = false }
        return table.shrink() || hasShrunk
    }

    var bucketCount: Int { table.bucketCount }
}

/// The clocks for expiries and sweeps.
public enum Clock {
    /// Returns milliseconds since 1970.
    public static func milliseconds() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }

    /// Returns nanoseconds of a monotonic clock, for durations.
    static func monotonic() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
}
