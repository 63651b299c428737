/// Behaviour that no single reply shows: expiry, cursors over a table that grows, patterns, many
/// threads.
import Glibc
import KVStore
import RESPCodec
import Synchronization
import TestSupport
import Testing

@Suite struct StoreTests {
    @Test("a key expires when its time is over")
    func aKeyEndsWhenItsTimeIsOver() {
        let client = Dialogue()
        let now = Clock.milliseconds()
        #expect(client.ask("SET a 1 PX 1000", now: now) == "+OK|")
        #expect(client.ask("PTTL a", now: now + 400) == ":600|")
        #expect(client.ask("GET a", now: now + 999) == "$1|1|")
        #expect(client.ask("GET a", now: now + 1000) == "$-1|")
        #expect(client.ask("INCR a", now: now + 1000) == ":1|")
        #expect(client.ask("TTL a", now: now + 1000) == ":-1|")
    }

    /// No client reads these keys again.
    @Test("a sweep removes expired keys that no client reads")
    func theSweepRemovesWhatNobodyAsksFor() {
        let client = Dialogue()
        let past = Clock.milliseconds() - 10_000
        for index in 0..<10_000 { _ = client.ask("SET k\(index) v PX 10", now: past) }
        _ = client.ask("SET stays v")
        #expect(client.ask("DBSIZE") == ":10001|")
        for _ in 0..<50 { client.database.store.sweep() }
        #expect(client.ask("DBSIZE") == ":1|")
    }

    /// A transaction of another loop may take long, and clients of this loop must not wait for it.
    @Test("a sweep does not wait for a transaction of another thread")
    func aSweepWaitsForNobody() {
        let store = Database().store
        let isHeld = Flag()
        let isSwept = Flag()
        let thread = TestThread {
            store.aloneWithAll {
                isHeld.raise()
                isSwept.wait()
            }
        }
        isHeld.wait()
        store.sweep()
        isSwept.raise()
        thread.join()
    }

    /// There are far more expired keys than one pass finds. A sweep continues while it finds many,
    /// until its time is over.
    @Test("a sweep continues while many keys are expired and reports when its time is over")
    func aSweepKeepsUpWithManyDeadKeys() {
        let client = Dialogue()
        let past = Clock.milliseconds() - 10_000
        for index in 0..<60_000 { _ = client.ask("SET k\(index) v PX 10", now: past) }
        // Without a time limit, a sweep leaves at most a quarter of the keys that it examines last.
        #expect(!client.database.store.sweep(within: 60_000_000_000))
        let reply = client.ask("DBSIZE")
        let left = Int(reply.dropFirst().dropLast()) ?? .max
        #expect(left < 20_000, "\(reply)")
        // With hardly any time, the sweep reports that it is behind.
        for index in 0..<60_000 { _ = client.ask("SET k\(index) v PX 10", now: past) }
        #expect(client.database.store.sweep(within: 1))
    }

    /// Each sweeper has its part of the shards, and together they cover all.
    @Test("several sweepers divide the shards and together remove every expired key")
    func severalSweepersShareTheShards() {
        let client = Dialogue()
        let store = client.database.store
        let sweepers = (0..<3).map { _ in store.addSweeper() }
        let past = Clock.milliseconds() - 10_000
        for index in 0..<3000 { _ = client.ask("SET k\(index) v PX 10", now: past) }
        for _ in 0..<100 { _ = store.sweep(by: sweepers[0], within: 60_000_000_000) }
        let left = Int(client.ask("DBSIZE").dropFirst().dropLast()) ?? .max
        #expect(1500..<2500 ~= left)
        for _ in 0..<100 {
            for sweeper in sweepers { _ = store.sweep(by: sweeper, within: 60_000_000_000) }
        }
        #expect(client.ask("DBSIZE") == ":0|")
    }

    /// Returns the number of SCAN calls that show all keys.
    private func scanCalls(_ client: Dialogue) -> Int {
        var (cursor, calls) = (Substring("0"), 0)
        repeat {
            let lines = client.ask("SCAN \(cursor)").split(
                separator: "|", omittingEmptySubsequences: false)
            cursor = lines[2]
            calls += 1
        } while cursor != "0" && calls < 10_000
        return calls
    }

    @Test("sweeps remove empty buckets after keys were deleted")
    func bucketsGoWithTheirKeys() {
        let client = Dialogue()
        for index in 0..<200_000 { _ = client.ask("SET k\(index) v") }
        for index in 0..<199_990 { _ = client.ask("DEL k\(index)") }
        #expect(scanCalls(client) > 50)
        for _ in 0..<10 { _ = client.database.store.sweep() }
        #expect(scanCalls(client) <= 3)
        for index in 199_990..<200_000 { #expect(client.ask("GET k\(index)") == "$1|v|") }
    }

    /// Like `scanMissesNothingWhileKeysCome`, but while the table shrinks.
    @Test("SCAN returns every remaining key while other keys are deleted")
    func scanMissesNothingWhileKeysGo() {
        let client = Dialogue()
        for index in 0..<50_000 { _ = client.ask("SET gone\(index) v") }
        for index in 0..<500 { _ = client.ask("SET k\(index) v") }
        var seen: Set<Substring> = []
        var (cursor, calls) = (Substring("0"), 0)
        repeat {
            let lines = client.ask("SCAN \(cursor) COUNT 500").split(
                separator: "|", omittingEmptySubsequences: false)
            cursor = lines[2]
            seen.formUnion(lines.filter { $0.hasPrefix("k") })
            for index in calls * 2000..<calls * 2000 + 2000 {
                _ = client.ask("DEL gone\(index)")
            }
            _ = client.database.store.sweep(within: 60_000_000_000)
            calls += 1
        } while cursor != "0" && calls < 5000
        #expect(seen.count == 500)
    }

    /// SCAN shows every key that stays at least once, even while the table doubles.
    @Test("SCAN returns every earlier key while new keys are added")
    func scanMissesNothingWhileKeysCome() {
        let client = Dialogue()
        for index in 0..<2000 { _ = client.ask("SET k\(index) v") }
        var seen: Set<Substring> = []
        var cursor: Substring = "0"
        var calls = 0
        repeat {
            let reply = client.ask("SCAN \(cursor) COUNT 50 MATCH k*")
            let lines = reply.split(separator: "|", omittingEmptySubsequences: false)
            cursor = lines[2]
            seen.formUnion(lines.filter { $0.hasPrefix("k") })
            for extra in 0..<200 { _ = client.ask("SET new\(calls)x\(extra) v") }
            calls += 1
        } while cursor != "0" && calls < 2000
        #expect(seen.count == 2000)
    }

    @Test(
        "KEYS returns exactly the keys that match the pattern",
        arguments: [
            ("*", "", true), ("*", "abc", true), ("a*c", "abbc", true), ("a*c", "abcd", false),
            ("?", "a", true), ("?", "", false), ("h[ae]llo", "hello", true),
            ("h[^e]llo", "hello", false), ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            (#"\*"#, "*", true), (#"\*"#, "a", false), ("[", "[", false), ("a\\", "a\\", true),
            ("a*b*c*d", "aXbYcZd", true), ("[abc", "b", true),
        ])
    func patterns(_ pattern: String, _ key: String, _ expected: Bool) {
        let client = Dialogue()
        let quoted = { (text: String) in
            "\"" + text.replacing("\\", with: "\\\\") + "\""
        }
        _ = client.ask("SET \(quoted(key)) v")
        let reply = client.ask("KEYS \(quoted(pattern))")
        #expect(reply.hasPrefix(expected ? "*1" : "*0"))
    }

    /// Exponential matching would never end.
    @Test("a hostile pattern does not cause exponential matching")
    func aHostilePatternCostsLittle() {
        let client = Dialogue()
        _ = client.ask("SET \(String(repeating: "a", count: 10_000)) v")
        #expect(client.ask("KEYS " + String(repeating: "a*", count: 1000) + "b") == "*0|")
    }

    @Test("commands of many threads are atomic")
    func commandsOfManyThreadsAreAtomic() {
        let database = Database()
        let threads = (0..<4).map { _ in
            TestThread {
                let client = Dialogue(database)
                for _ in 0..<2000 {
                    _ = client.ask("INCR n")
                    _ = client.ask("MSET a 1 b 1 c 1 d 1")
                    _ = client.ask("DEL a b c d")
                }
            }
        }
        for thread in threads { thread.join() }
        #expect(Dialogue(database).ask("GET n") == "$4|8000|")
    }
}

/// A signal from one thread to another.
private final class Flag: Sendable {
    private let value = Atomic(false)

    func raise() { value.store(true, ordering: .releasing) }

    func wait() { while !value.load(ordering: .acquiring) { usleep(100) } }
}
