/// Commands behind replies that have reached the limit, as in a transaction: each is refused and
/// changes nothing, or it is executed and answered.
import KVStore
import RESPCodec
import Testing

@Suite struct RefusalTests {
    private static let refusal =
        "-ERR reply exceeds maximum allowed size (client-output-buffer-limit)|"
    private static let now = 1_700_000_000_000
    private static let data = [
        "SET s v", "SET n 1", "SET x 1.5", "RPUSH l a b", "HSET h f 1", "SADD e m", "ZADD z 1 m",
    ]
    /// Their replies show all data, and the client's settings.
    private static let probes = [
        "GET s", "GET n", "GET x", "LRANGE l 0 -1", "HGETALL h", "SMEMBERS e",
        "ZRANGE z 0 -1 WITHSCORES", "PEXPIRETIME s", "GET new", "DBSIZE", "CLIENT GETNAME",
    ]

    /// Commands whose reply has data.
    static let longReplies = [
        "GET s", "GETDEL s", "GETEX s EX 100", "SET s w GET", "MGET s n", "INCRBYFLOAT x 1",
        "KEYS *", "SCAN 0", "LPOP l", "RPOP l 2", "LRANGE l 0 -1", "HGET h f", "HMGET h f g",
        "HGETALL h", "SMEMBERS e", "SPOP e", "ZPOPMIN z", "ZRANGE z 0 -1", "PING text", "ECHO text",
        "HELLO 3 SETNAME me", "INFO", "CONFIG GET save", "COMMAND", "CLIENT INFO",
    ]

    static let shortReplies = [
        "SET s w", "SET new w GET", "SETEX s 100 w", "PSETEX s 100000 w", "SETNX new w",
        "APPEND s w", "STRLEN s", "MSET s w new w", "GETDEL no", "INCR n", "DECR n", "INCRBY n 5",
        "DECRBY n 5", "DEL s n", "UNLINK s n", "EXISTS s n", "TYPE s", "DBSIZE", "FLUSHALL",
        "FLUSHDB", "EXPIRE s 100", "PEXPIRE s 100000", "EXPIREAT s 1800000000",
        "PEXPIREAT s 1800000000000", "EXPIRETIME s", "PEXPIRETIME s", "TTL s", "PTTL s",
        "PERSIST s", "LPUSH l c", "RPUSH l c", "LLEN l", "LPOP no", "HSET h f 2", "HEXISTS h f",
        "HLEN h", "HDEL h f", "HINCRBY h f 2", "SADD e k", "SREM e m", "SCARD e", "SISMEMBER e m",
        "ZADD z 2 k", "ZADD z INCR 2 m", "ZREM z m", "ZCARD z", "ZSCORE z m", "PUBLISH c text",
        "MULTI", "EXEC", "DISCARD", "RESET", "PING", "QUIT", "SELECT 0", "AUTH default x",
        "CLIENT SETNAME me", "CONFIG RESETSTAT",
    ]

    private func client() -> Dialogue {
        let client = Dialogue(replyLimit: ReplyWriter.smallestLimit)
        for line in Self.data { _ = client.ask(line, now: Self.now) }
        return client
    }

    private func state(_ client: Dialogue) -> [String] {
        Self.probes.map { client.ask($0, now: Self.now) }
    }

    @Test("a command whose reply has data is refused and changes nothing", arguments: longReplies)
    func refused(_ line: String) {
        let client = client()
        #expect(client.askWithoutRoom(line, now: Self.now) == Self.refusal)
        #expect(state(client) == state(self.client()) && !client.session.isEnding)
    }

    @Test("a command with a short reply is executed and answered", arguments: shortReplies)
    func executed(_ line: String) {
        let (client, other) = (client(), client())
        #expect(client.askWithoutRoom(line, now: Self.now) == other.ask(line, now: Self.now))
        #expect(state(client) == state(other))
    }

    /// Their client could not know its subscriptions.
    @Test("a refused confirmation ends the connection", arguments: ["", "UN", "P", "PUN"])
    func subscriptions(_ prefix: String) {
        let client = client()
        #expect(client.askWithoutRoom("\(prefix)SUBSCRIBE c", now: Self.now) == Self.refusal)
        #expect(client.session.isEnding)
    }

    @Test("every command has a row here")
    func complete() {
        let rows = Self.longReplies + Self.shortReplies + ["SUBSCRIBE", "UNSUBSCRIBE"]
        let names = Set((rows + ["PSUBSCRIBE", "PUNSUBSCRIBE"]).map { $0.prefix { $0 != " " } })
        let all = client().ask("COMMAND LIST").split(separator: "|").filter { $0.first != "$" }
        #expect(Set(all.dropFirst().map { $0.uppercased() }) == Set(names.map(String.init)))
    }
}
