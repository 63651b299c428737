/// Commands and their replies, without a network: typed lines, and the bytes that Redis 7.0.15
/// answers.
import KVStore
import RESPCodec
import Testing

/// The parts of a delivery: a message, and the subscription that it belongs to.
typealias Delivery = (message: Message, subscription: Subscription)

/// A client of a database, without a server between them.
final class Dialogue {
    let database: Database
    private var parser = RequestParser()
    private let call: Call
    private var reply: ReplyWriter { call.reply }
    var session: Session { call.session }

    init(_ database: Database = Database(), replyLimit: Int = 1 << 40) {
        self.database = database
        call = Call(database, Session(), ReplyWriter(limit: replyLimit))
    }

    /// Returns the reply to one inline request, with `|` for each line end.
    func ask(_ line: String, now: Int = Clock.milliseconds()) -> String {
        reply.removeAll()
        execute(line, now)
        return shown(from: 0)
    }

    /// Like `ask`, but behind replies that have reached the limit.
    func askWithoutRoom(_ line: String, now: Int) -> String {
        reply.removeAll()
        while reply.room > 0 { reply.ok() }
        let start = reply.count
        execute(line, now)
        return shown(from: start)
    }

    private func execute(_ line: String, _ now: Int) {
        let bytes = Array((line + "\n").utf8)
        bytes.withUnsafeBytes { bytes in
            guard case .request = parser.parse(bytes) else { return }
            parser.withRequest(in: bytes) { call.execute($0, now: now) }
        }
    }

    /// Returns the bytes of the reply to words of any bytes.
    func bytes(of words: [[UInt8]]) -> [UInt8] {
        var bytes = Array("*\(words.count)\r\n".utf8)
        for word in words { bytes += Array("$\(word.count)\r\n".utf8) + word + [0x0D, 0x0A] }
        reply.removeAll()
        bytes.withUnsafeBytes { bytes in
            guard case .request = parser.parse(bytes) else { return }
            parser.withRequest(in: bytes) { call.execute($0) }
        }
        return [UInt8](reply.bytes)
    }

    /// Returns the text of delivered messages, with `|` for each line end.
    func write(_ messages: [Delivery]) -> String {
        reply.removeAll()
        for (message, subscription) in messages {
            session.write(message, subscription, to: reply)
        }
        return shown(from: 0)
    }

    private func shown(from start: Int) -> String {
        String(decoding: reply.bytes[start...], as: UTF8.self).split(
            separator: "\r\n", omittingEmptySubsequences: false
        ).joined(separator: "|")
    }
}

@Suite struct CommandTests {
    /// Each row is a conversation with an empty database.
    static let conversations: [[(String, String)]] = [
        [("PING", "+PONG|"), ("ping hi", "$2|hi|"), ("ECHO hi", "$2|hi|"), ("QUIT", "+OK|")],
        [
            ("SET a 1", "+OK|"), ("GET a", "$1|1|"), ("GET b", "$-1|"), ("SET a 2 NX", "$-1|"),
            ("SET b 2 XX", "$-1|"), ("SET a 3 XX GET", "$1|1|"), ("GET a", "$1|3|"),
            ("SET c 1 GET", "$-1|"), ("SET c 2 NX GET", "$1|1|"), ("GET c", "$1|1|"),
            ("SET a 1 NX XX", "-ERR syntax error|"), ("SET a 1 EX", "-ERR syntax error|"),
            ("SET a 1 EX 0", "-ERR invalid expire time in 'set' command|"),
            ("SET a 1 PX x", "-ERR value is not an integer or out of range|"),
            ("SET a 1 EX 9223372036854775807", "-ERR invalid expire time in 'set' command|"),
            ("SET a 1 EX 1 PX 1", "-ERR syntax error|"),
            ("SET a 1 EX 1 KEEPTTL", "-ERR syntax error|"), ("SET a 1 BAD", "-ERR syntax error|"),
            ("GETDEL a", "$1|3|"), ("GETDEL a", "$-1|"), ("SETNX a 1", ":1|"), ("SETNX a 2", ":0|"),
        ],
        [
            ("INCR n", ":1|"), ("INCRBY n 10", ":11|"), ("DECR n", ":10|"),
            ("DECRBY n 20", ":-10|"),
            ("SET n x", "+OK|"), ("INCR n", "-ERR value is not an integer or out of range|"),
            ("SET n 9223372036854775807", "+OK|"),
            ("INCR n", "-ERR increment or decrement would overflow|"),
            ("DECRBY n -9223372036854775808", "-ERR decrement would overflow|"),
            ("INCRBY n 1.5", "-ERR value is not an integer or out of range|"),
        ],
        [
            ("APPEND a 12", ":2|"), ("APPEND a 34", ":4|"), ("STRLEN a", ":4|"),
            ("STRLEN b", ":0|"),
            ("MSET x 1 y 2", "+OK|"), ("MGET x y z", "*3|$1|1|$1|2|$-1|"),
            ("MSET x 1 y", "-ERR wrong number of arguments for 'mset' command|"),
            ("EXISTS x x y nope", ":3|"), ("DEL x x nope", ":1|"), ("DBSIZE", ":2|"),
            ("FLUSHALL", "+OK|"), ("DBSIZE", ":0|"), ("FLUSHALL BAD", "-ERR syntax error|"),
        ],
        [
            ("SET a 1 EX 100", "+OK|"), ("TTL a", ":100|"), ("PERSIST a", ":1|"), ("TTL a", ":-1|"),
            ("PERSIST a", ":0|"), ("TTL nope", ":-2|"), ("PTTL nope", ":-2|"),
            ("EXPIRE nope 1", ":0|"), ("EXPIRE a 100", ":1|"), ("SET a 2 KEEPTTL", "+OK|"),
            ("TTL a", ":100|"), ("SET a 2", "+OK|"), ("TTL a", ":-1|"), ("EXPIRE a 10 NX", ":1|"),
            ("EXPIRE a 20 NX", ":0|"), ("EXPIRE a 5 GT", ":0|"), ("EXPIRE a 5 LT", ":1|"),
            ("EXPIRE a x", "-ERR value is not an integer or out of range|"),
            ("EXPIRE a 9223372036854775807", "-ERR invalid expire time in 'expire' command|"),
            ("EXPIRE a 1 ODD", "-ERR Unsupported option ODD|"), ("EXPIRE a -1", ":1|"),
            ("EXISTS a", ":0|"),
        ],
        [
            ("RPUSH l a b c", ":3|"), ("LPUSH l z", ":4|"), ("LLEN l", ":4|"),
            ("LRANGE l 0 -1", "*4|$1|z|$1|a|$1|b|$1|c|"), ("LRANGE l -2 99", "*2|$1|b|$1|c|"),
            ("LRANGE l 3 1", "*0|"), ("LPOP l", "$1|z|"), ("RPOP l 2", "*2|$1|c|$1|b|"),
            ("LPOP l -1", "-ERR value is out of range, must be positive|"), ("TYPE l", "+list|"),
            ("LPOP l 0", "*0|"), ("LPOP l 9", "*1|$1|a|"), ("TYPE l", "+none|"), ("LPOP l", "$-1|"),
            ("LPOP l 1", "*-1|"), ("LLEN l", ":0|"), ("LRANGE l 0 -1", "*0|"),
            ("LRANGE l a b", "-ERR value is not an integer or out of range|"),
        ],
        [
            ("HSET h a 1", ":1|"), ("HSET h a 2 b 3", ":1|"), ("HGET h a", "$1|2|"),
            ("HGET h x", "$-1|"), ("HINCRBY h a 5", ":7|"), ("HDEL h a x", ":1|"),
            ("HGETALL h", "*2|$1|b|$1|3|"), ("HDEL h b", ":1|"), ("EXISTS h", ":0|"),
            ("HGETALL h", "*0|"),
            ("HSET h a", "-ERR wrong number of arguments for 'hset' command|"),
            ("HSET h a 1 b", "-ERR wrong number of arguments for 'hset' command|"),
            ("HSET h a x", ":1|"), ("HINCRBY h a 1", "-ERR hash value is not an integer|"),
            ("TYPE h", "+hash|"),
        ],
        [
            ("SADD s a b a", ":2|"), ("SISMEMBER s a", ":1|"), ("SISMEMBER s x", ":0|"),
            ("SREM s b x", ":1|"), ("SMEMBERS s", "*1|$1|a|"), ("TYPE s", "+set|"),
            ("SREM s a", ":1|"), ("EXISTS s", ":0|"), ("SMEMBERS s", "*0|"),
        ],
        [
            ("SET a 1", "+OK|"), ("LPUSH a 1", wrongType), ("HSET a b c", wrongType),
            ("SADD a b", wrongType), ("LRANGE a 0 1", wrongType), ("SMEMBERS a", wrongType),
            ("HINCRBY a b 1", wrongType), ("RPUSH l a", ":1|"), ("GET l", wrongType),
            ("INCR l", wrongType), ("APPEND l x", wrongType), ("STRLEN l", wrongType),
            ("SET l 1 GET", wrongType), ("MGET l", "*1|$-1|"), ("SET l 1", "+OK|"),
            ("GETDEL l", "$1|1|"),
        ],
        [
            ("GET", "-ERR wrong number of arguments for 'get' command|"),
            ("PING a b", "-ERR wrong number of arguments for 'ping' command|"),
            ("nosuch a b", "-ERR unknown command 'nosuch', with args beginning with: 'a' 'b' |"),
            ("INFO nosuch", "$0||"), ("INFO keyspace", "$12|# Keyspace||"),
            ("SET a 1 EX 9", "+OK|"),
            ("INFO KEYSPACE", "$44|# Keyspace|db0:keys=1,expires=1,avg_ttl=0||"), ("DEL a", ":1|"),
            ("SELECT 0", "+OK|"), ("SELECT 1", "-ERR DB index is out of range|"),
            ("CONFIG GET save", "*2|$4|save|$0||"), ("CONFIG GET nope", "*0|"),
            ("CLIENT GETNAME", "$-1|"), ("CLIENT SETNAME me", "+OK|"), ("CLIENT GETNAME", "$2|me|"),
            ("HELLO 4", "-NOPROTO unsupported protocol version|"),
            ("HELLO x", "-ERR Protocol version is not an integer or out of range|"),
            ("CLIENT NOPE", "-ERR unknown subcommand 'NOPE'. Try CLIENT HELP.|"),
            ("PUBLISH c m", ":0|"), ("KEYS *", "*0|"), ("SCAN 0", "*2|$1|0|*0|"),
            ("SCAN x", "-ERR invalid cursor|"), ("SCAN 0 COUNT 0", "-ERR syntax error|"),
        ],
        [
            ("SUBSCRIBE c", "*3|$9|subscribe|$1|c|:1|"),
            (
                "GET a",
                "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
                    + "RESET are allowed in this context|"
            ),
            ("PING", "*2|$4|pong|$0||"), ("UNSUBSCRIBE", "*3|$11|unsubscribe|$1|c|:0|"),
            ("UNSUBSCRIBE", "*3|$11|unsubscribe|$-1|:0|"), ("GET a", "$-1|"),
        ],
    ]
    static let wrongType =
        "-WRONGTYPE Operation against a key holding the wrong kind of value|"

    @Test("each command returns the same reply as Redis", arguments: conversations.indices)
    func conversation(_ index: Int) {
        let client = Dialogue()
        for (line, reply) in Self.conversations[index] {
            #expect(client.ask(line) == reply, "\(line)")
        }
    }

    @Test("HELLO sets the protocol version of the replies")
    func helloChoosesTheVersion() {
        let client = Dialogue()
        #expect(client.ask("HELLO 3 SETNAME x").hasPrefix("%7|$6|server|$5|redis|"))
        #expect(client.ask("GET nope") == "_|")
        #expect(client.ask("HGETALL nope") == "%0|")
        #expect(client.ask("SUBSCRIBE c") == ">3|$9|subscribe|$1|c|:1|")
        #expect(client.ask("GET nope") == "_|")
        #expect(client.ask("HELLO 2").hasPrefix("*14|"))
    }
}
