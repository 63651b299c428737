/// What no single reply shows: expiry, cursors over a table that grows, patterns, many threads.
import Glibc
import KVStore
import RESPCodec
import Testing

@Suite struct StoreTests {
    @Test func aKeyEndsWhenItsTimeIsOver() {
        let client = Dialogue()
        let now = Clock.milliseconds()
        #expect(client.ask("SET a 1 PX 1000", now: now) == "+OK|")
        #expect(client.ask("PTTL a", now: now + 400) == ":600|")
        #expect(client.ask("GET a", now: now + 999) == "$1|1|")
        #expect(client.ask("GET a", now: now + 1000) == "$-1|")
        #expect(client.ask("INCR a", now: now + 1000) == ":1|")
        #expect(client.ask("TTL a", now: now + 1000) == ":-1|")
    }

    /// Nobody asks for these keys again.
    @Test func theSweepRemovesWhatNobodyAsksFor() {
        let client = Dialogue()
        let past = Clock.milliseconds() - 10_000
        for index in 0..<10_000 { _ = client.ask("SET k\(index) v PX 10", now: past) }
        _ = client.ask("SET stays v")
        #expect(client.ask("DBSIZE") == ":10001|")
        for _ in 0..<50 { client.database.store.sweep() }
        #expect(client.ask("DBSIZE") == ":1|")
    }

    /// Every key that is there all the time comes at least once, though the table doubles.
    @Test func scanMissesNothingWhileKeysCome() {
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

    @Test(arguments: [
        ("*", "", true), ("*", "abc", true), ("a*c", "abbc", true), ("a*c", "abcd", false),
        ("?", "a", true), ("?", "", false), ("h[ae]llo", "hello", true),
        ("h[^e]llo", "hello", false), ("h[a-c]llo", "hbllo", true), ("h[c-a]llo", "hbllo", true),
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
    @Test func aHostilePatternCostsLittle() {
        let client = Dialogue()
        _ = client.ask("SET \(String(repeating: "a", count: 10_000)) v")
        #expect(client.ask("KEYS " + String(repeating: "a*", count: 1000) + "b") == "*0|")
    }

    @Test func commandsOfManyThreadsAreAtomic() {
        let database = Database()
        let threads = (0..<4).map { _ in
            startThread {
                let client = Dialogue(database)
                for _ in 0..<2000 {
                    _ = client.ask("INCR n")
                    _ = client.ask("MSET a 1 b 1 c 1 d 1")
                    _ = client.ask("DEL a b c d")
                }
            }
        }
        for thread in threads { pthread_join(thread, nil) }
        #expect(Dialogue(database).ask("GET n") == "$4|8000|")
    }
}

private final class ThreadBody: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

private func startThread(_ body: @escaping @Sendable () -> Void) -> pthread_t {
    var thread = pthread_t()
    pthread_create(
        &thread, nil,
        { raw in
            Unmanaged<ThreadBody>.fromOpaque(raw!).takeRetainedValue().run()
            return nil
        }, Unmanaged.passRetained(ThreadBody(body)).toOpaque())
    return thread
}
