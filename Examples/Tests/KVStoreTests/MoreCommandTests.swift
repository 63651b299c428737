/// More conversations like those of `CommandTests`: times, sets, sorted sets, fractions, and the
/// first requests of client libraries.
import KVStore
import Testing

@Suite struct MoreCommandTests {
    private static let notFloat = "-ERR value is not a valid float|"
    private static let notPositive = "-ERR value is out of range, must be positive|"

    static let conversations: [[(String, String)]] = [
        [
            ("SET a 1 EXAT 99999999999", "+OK|"), ("EXPIRETIME a", ":99999999999|"),
            ("PEXPIRETIME a", ":99999999999000|"), ("SET a 1 PXAT 99999999999999", "+OK|"),
            ("PEXPIRETIME a", ":99999999999999|"), ("EXPIRETIME a", ":100000000000|"),
            ("SET a 1 EXAT 10 EXAT 1", "+OK|"), ("EXISTS a", ":0|"), ("EXPIRETIME a", ":-2|"),
            ("SET a 1 EXAT 0", "-ERR invalid expire time in 'set' command|"),
            ("SET a 1 PXAT x", "-ERR value is not an integer or out of range|"),
            ("SET a 1 EXAT 9223372036854775807", "-ERR invalid expire time in 'set' command|"),
            ("SET a 1 EXAT 10 PX 5", "-ERR syntax error|"),
            ("SET a 1 EXAT 10 KEEPTTL", "-ERR syntax error|"),
            ("SET a 1 PXAT", "-ERR syntax error|"),
            ("SET a 1", "+OK|"), ("EXPIRETIME a", ":-1|"), ("EXPIREAT a 99999999999", ":1|"),
            ("EXPIREAT a 99999999999 GT", ":0|"), ("PEXPIREAT a 99999999999999", ":1|"),
            ("PEXPIRETIME a", ":99999999999999|"), ("EXPIREAT a 1", ":1|"), ("EXISTS a", ":0|"),
            ("SET a 1 PXAT 9223372036854775807", "+OK|"),
            ("EXPIRETIME a", ":9223372036854776|"),
            ("EXPIREAT none 1", ":0|"),
            ("EXPIREAT a 9223372036854775807", "-ERR invalid expire time in 'expireat' command|"),
        ],
        [
            ("GETEX a", "$-1|"), ("GETEX a EX x", "$-1|"), ("SET a 5", "+OK|"),
            ("GETEX a", "$1|5|"),
            ("GETEX a EX 100", "$1|5|"), ("TTL a", ":100|"), ("GETEX a", "$1|5|"),
            ("TTL a", ":100|"), ("GETEX a PERSIST", "$1|5|"), ("TTL a", ":-1|"),
            ("GETEX a PXAT 99999999999999", "$1|5|"), ("PEXPIRETIME a", ":99999999999999|"),
            ("GETEX a PERSIST EX 100", "-ERR syntax error|"), ("GETEX a EX", "-ERR syntax error|"),
            ("GETEX a EX 0", "-ERR invalid expire time in 'getex' command|"),
            ("GETEX a NX", "-ERR syntax error|"), ("GETEX a KEEPTTL", "-ERR syntax error|"),
            ("SET a 1 PERSIST", "-ERR syntax error|"), ("GETEX a EXAT 1", "$1|5|"),
            ("EXISTS a", ":0|"), ("SETEX a 100 v", "+OK|"), ("TTL a", ":100|"),
            ("SETEX a 0 v", "-ERR invalid expire time in 'setex' command|"),
            ("PSETEX a -1 v", "-ERR invalid expire time in 'psetex' command|"),
            ("SETEX a x v", "-ERR value is not an integer or out of range|"),
            ("PSETEX a 100000 w", "+OK|"), ("TTL a", ":100|"), ("RPUSH l a", ":1|"),
            ("GETEX l", CommandTests.wrongType), ("SETEX l 10 v", "+OK|"), ("UNLINK l a x", ":2|"),
            ("FLUSHDB x", "-ERR syntax error|"), ("FLUSHDB ASYNC", "+OK|"),
        ],
        [
            ("SPOP s", "$-1|"), ("SPOP s 1", "*0|"), ("SCARD s", ":0|"), ("SADD s a", ":1|"),
            ("SPOP s 0", "*0|"), ("SPOP s -1", notPositive), ("SPOP s x", notPositive),
            ("SPOP s 1 2", "-ERR syntax error|"), ("SCARD s", ":1|"), ("SPOP s", "$1|a|"),
            ("EXISTS s", ":0|"), ("SADD s a", ":1|"), ("SPOP s 5", "*1|$1|a|"), ("EXISTS s", ":0|"),
            ("HSET h a 1 b 2", ":2|"), ("HLEN h", ":2|"), ("HLEN none", ":0|"),
            ("HMGET h a x b", "*3|$1|1|$-1|$1|2|"), ("HMGET none a b", "*2|$-1|$-1|"),
            ("HEXISTS h a", ":1|"), ("HEXISTS h x", ":0|"), ("HEXISTS none x", ":0|"),
            ("SPOP h", CommandTests.wrongType), ("SCARD h", CommandTests.wrongType),
            ("SET t v", "+OK|"), ("HMGET t a", CommandTests.wrongType),
        ],
        [
            ("SET f 10.5", "+OK|"), ("INCRBYFLOAT f 0.1", "$4|10.6|"), ("SET f 3.0e3", "+OK|"),
            ("INCRBYFLOAT f 200", "$4|3200|"), ("GET f", "$4|3200|"), ("INCRBYFLOAT f x", notFloat),
            ("INCRBYFLOAT f nan", notFloat), ("INCRBYFLOAT f ' 1'", notFloat),
            ("INCRBYFLOAT f inf", "-ERR increment would produce NaN or Infinity|"),
            ("SET f abc", "+OK|"), ("INCRBYFLOAT f 1", notFloat), ("SET f 0x10", "+OK|"),
            ("INCRBYFLOAT f 1", "$2|17|"), ("INCRBYFLOAT f -17", "$1|0|"),
            ("INCRBYFLOAT f -0.5", "$4|-0.5|"),
            ("INCRBYFLOAT new 1e20", "$21|100000000000000000000|"),
            ("RPUSH l a", ":1|"), ("INCRBYFLOAT l 1", CommandTests.wrongType),
        ],
        [
            ("ZADD z 1 a 2 b", ":2|"), ("ZADD z x a", notFloat), ("ZADD z nan a", notFloat),
            ("ZADD z 1 a 2", "-ERR syntax error|"),
            ("ZADD z NX XX 1 a", "-ERR XX and NX options at the same time are not compatible|"),
            (
                "ZADD z GT LT 1 a",
                "-ERR GT, LT, and/or NX options at the same time are not compatible|"
            ),
            ("ZADD z INCR 1 a 2 b", "-ERR INCR option supports a single increment-element pair|"),
            ("ZADD z INCR 1 a", "$1|2|"), ("ZADD z CH 5 a 6 d", ":2|"), ("ZADD z XX 5 q", ":0|"),
            ("ZADD z NX INCR 1 a", "$-1|"), ("ZADD z inf i -inf j", ":2|"),
            ("ZADD z INCR -inf i", "-ERR resulting score is not a number (NaN)|"),
            ("ZADD z GT 4 a", ":0|"), ("ZSCORE z a", "$1|5|"), ("ZADD z LT 4 a", ":0|"),
            ("ZSCORE z a", "$1|4|"), ("ZSCORE z i", "$3|inf|"), ("ZSCORE z x", "$-1|"),
            ("ZCARD z", ":5|"), ("ZCARD none", ":0|"), ("TYPE z", "+zset|"),
            ("ZRANGE z 0 -1", "*5|$1|j|$1|b|$1|a|$1|d|$1|i|"),
            ("ZRANGE z 0 1 REV WITHSCORES", "*4|$1|i|$3|inf|$1|d|$1|6|"),
            ("ZRANGE z (2 +inf BYSCORE LIMIT 1 1", "*1|$1|d|"),
            ("ZRANGE z 5 2 BYSCORE REV", "*2|$1|a|$1|b|"), ("ZRANGE z 9 1", "*0|"),
            ("ZREM z a x", ":1|"), ("ZPOPMIN z", "*2|$1|j|$4|-inf|"),
            ("ZPOPMIN z 9", "*6|$1|b|$1|2|$1|d|$1|6|$1|i|$3|inf|"), ("EXISTS z", ":0|"),
            ("ZPOPMIN z", "*0|"), ("ZPOPMIN z -1", notPositive),
            ("ZADD z 0.1 a 1e21 b 1e-7 c", ":3|"),
            (
                "ZRANGE z 0 -1 WITHSCORES",
                "*6|$1|c|$22|9.9999999999999995e-08|$1|a|$19|0.10000000000000001|$1|b|$5|1e+21|"
            ),
            ("ZADD y 0 a 0 b 0 c", ":3|"), ("ZRANGE y [a (c BYLEX", "*2|$1|a|$1|b|"),
            ("ZRANGE y + - BYLEX REV LIMIT 0 1", "*1|$1|c|"), ("SADD y q", CommandTests.wrongType),
            ("ZRANGE y a b BYLEX", "-ERR min or max not valid string range item|"),
            ("ZRANGE y x 1 BYSCORE", "-ERR min or max is not a float|"),
        ],
        [
            ("AUTH", "-ERR wrong number of arguments for 'auth' command|"),
            (
                "AUTH x",
                "-ERR AUTH <password> called without any password configured for the default user. "
                    + "Are you sure your configuration is correct?|"
            ),
            ("AUTH default x", "+OK|"), ("AUTH a b c", "-ERR syntax error|"),
            ("AUTH a b", "-WRONGPASS invalid username-password pair or user is disabled.|"),
            ("CLIENT NO-EVICT on", "+OK|"), ("CLIENT NO-EVICT x", "-ERR syntax error|"),
            ("CLIENT NO-EVICT", "-ERR wrong number of arguments for 'client|no-evict' command|"),
            ("CONFIG GET SAVE", "*2|$4|SAVE|$0||"),
            ("CONFIG GET APPEND*", "*2|$10|appendonly|$2|no|"),
            ("CONFIG GET save Save SAVE", "*2|$4|save|$0||"), ("CONFIG RESETSTAT", "+OK|"),
            (
                "COMMAND INFO get nosuch",
                "*2|*10|$3|get|:2|*2|+readonly|+fast|:1|:1|:1|*3|+@read|+@string|+@fast|*0|*1|*6|"
                    + "$5|flags|*2|+RO|+access|$12|begin_search|*4|$4|type|$5|index|$4|spec|*2|"
                    + "$5|index|:1|$9|find_keys|*4|$4|type|$5|range|$4|spec|*6|$7|lastkey|:0|"
                    + "$7|keystep|:1|$5|limit|:0|*0|*-1|"
            ),
        ],
    ]

    @Test(
        "each command on times, sets, sorted sets and fractions returns the reply of Redis",
        arguments: conversations.indices)
    func conversation(_ index: Int) {
        let client = Dialogue()
        for (line, reply) in Self.conversations[index] {
            #expect(client.ask(line) == reply, "\(line)")
        }
    }

    private func numbers(_ reply: String) -> [Substring] {
        reply.split(separator: "|").filter { $0.allSatisfy(\.isNumber) }
    }

    /// Each member must be popped once, in any order.
    @Test("SPOP returns every member once")
    func everyMemberIsPoppedOnce() {
        let client = Dialogue()
        let members = (100..<400).map { "\($0)" }
        #expect(client.ask("SADD s " + members.joined(separator: " ")) == ":300|")
        var popped: [Substring] = []
        for _ in 0..<60 {
            popped += numbers(client.ask("SPOP s 3"))
            popped += numbers(client.ask("SPOP s"))
            #expect(client.ask("SISMEMBER s \(popped[popped.count - 1])") == ":0|")
            #expect(client.ask("SADD s x") == ":1|" && client.ask("SREM s x") == ":1|")
        }
        popped += numbers(client.ask("SPOP s 100"))
        #expect(popped.map(String.init).sorted() == members && popped.map(String.init) != members)
    }

    @Test("in RESP3, scores are sent as numbers and text as verbatim strings")
    func inRESP3ScoresAreNumbersAndTextIsText() {
        let client = Dialogue()
        #expect(client.ask("HELLO 3").hasPrefix("%7|"))
        #expect(client.ask("ZADD z 0.5 a 2 b") == ":2|")
        #expect(client.ask("ZSCORE z a") == ",0.5|")
        #expect(client.ask("ZRANGE z 0 -1 WITHSCORES") == "*2|*2|$1|a|,0.5|*2|$1|b|,2|")
        #expect(client.ask("ZPOPMIN z") == "*2|$1|a|,0.5|")
        #expect(client.ask("ZPOPMIN z 1") == "*1|*2|$1|b|,2|")
        #expect(client.ask("INFO keyspace") == "=16|txt:# Keyspace||")
        #expect(client.ask("CLIENT INFO").hasPrefix("="))
        #expect(client.ask("SPOP none 1") == "~0|")
    }

    /// Fields that client libraries and `redis-cli --stat` read.
    @Test("CLIENT INFO, CLIENT LIST and INFO return the fields that clients read")
    func fieldsOfClientsAndOfTheServer() {
        let client = Dialogue()
        client.database.opened(client.session)
        #expect(client.ask("CLIENT SETNAME me") == "+OK|")
        for line in ["CLIENT INFO", "CLIENT LIST", "CLIENT LIST TYPE normal"] {
            let reply = client.ask(line)
            let fields = [
                "id=", "addr=", "laddr=", "fd=", "name=me", "age=", "idle=", "flags=N", "db=0",
                "sub=0", "psub=0", "multi=-1", "qbuf=", "omem=", "events=", "cmd=client|",
                "user=default", "redir=-1", "resp=2",
            ]
            for field in fields { #expect(reply.contains(field), "\(field) in \(reply)") }
        }
        #expect(client.ask("CLIENT LIST TYPE pubsub") == "$0||")
        #expect(client.ask("CLIENT LIST ID x") == "-ERR Invalid client ID|")
        #expect(client.ask("CLIENT HELP").hasPrefix("*"))
        let report = client.ask("INFO")
        let fields = [
            "used_memory:", "connected_clients:1", "blocked_clients:0", "total_commands_processed:",
            "total_connections_received:1", "loading:0", "rdb_bgsave_in_progress:0",
            "aof_rewrite_in_progress:0",
        ]
        for field in fields { #expect(report.contains("|" + field), "\(field) in \(report)") }
    }
}
