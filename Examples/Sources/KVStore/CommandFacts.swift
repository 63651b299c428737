import RESPCodec

/// The facts that COMMAND reports to client libraries: the effect of a command and the positions of
/// its keys.
enum CommandFacts {
    private struct Facts {
        /// Whether keys are written, or only read; nil if the command uses no keys.
        let isWriting: Bool?
        let isFast: Bool
        let group: String
        /// The index of the first key, that of the last key (negative: from the end), and the step
        /// between keys.
        let keys: (first: Int, last: Int, step: Int)
    }

    /// Groups of command names: whether they write, whether they run in constant time, their group,
    /// keys.
    private static let rows: [(String, Bool?, Bool, String, (Int, Int, Int))] = [
        ("get strlen", false, true, "string", (1, 1, 1)),
        ("mget", false, true, "string", (1, -1, 1)),
        ("set setex psetex", true, false, "string", (1, 1, 1)),
        (
            "getdel getex setnx append incr decr incrby decrby incrbyfloat", true, true, "string",
            (1, 1, 1)
        ),
        ("mset", true, false, "string", (1, -1, 2)),
        ("del", true, false, "keyspace", (1, -1, 1)),
        ("unlink", true, true, "keyspace", (1, -1, 1)),
        ("exists", false, true, "keyspace", (1, -1, 1)),
        ("type ttl pttl expiretime pexpiretime", false, true, "keyspace", (1, 1, 1)),
        ("expire pexpire expireat pexpireat persist", true, true, "keyspace", (1, 1, 1)),
        ("keys scan", false, false, "keyspace", (0, 0, 0)),
        ("dbsize", false, true, "keyspace", (0, 0, 0)),
        ("flushall flushdb", true, false, "keyspace", (0, 0, 0)),
        ("lpush rpush lpop rpop", true, true, "list", (1, 1, 1)),
        ("llen", false, true, "list", (1, 1, 1)),
        ("lrange", false, false, "list", (1, 1, 1)),
        ("hset hdel hincrby", true, true, "hash", (1, 1, 1)),
        ("hget hmget hexists hlen", false, true, "hash", (1, 1, 1)),
        ("hgetall", false, false, "hash", (1, 1, 1)),
        ("sadd srem spop", true, true, "set", (1, 1, 1)),
        ("scard sismember", false, true, "set", (1, 1, 1)),
        ("smembers", false, false, "set", (1, 1, 1)),
        ("zadd zrem zpopmin", true, true, "sortedset", (1, 1, 1)),
        ("zcard zscore", false, true, "sortedset", (1, 1, 1)),
        ("zrange", false, false, "sortedset", (1, 1, 1)),
        ("subscribe unsubscribe psubscribe punsubscribe", nil, false, "pubsub", (0, 0, 0)),
        ("publish", nil, true, "pubsub", (0, 0, 0)),
        ("multi discard", nil, true, "transaction", (0, 0, 0)),
        ("exec", nil, false, "transaction", (0, 0, 0)),
        ("ping echo quit reset select hello auth", nil, true, "connection", (0, 0, 0)),
        ("client", nil, false, "connection", (0, 0, 0)),
    ]

    private static let all: [String: Facts] = {
        var all: [String: Facts] = [:]
        for (names, isWriting, isFast, group, keys) in rows {
            for name in names.split(separator: " ") {
                all[String(name)] = Facts(
                    isWriting: isWriting, isFast: isFast, group: group, keys: keys)
            }
        }
        return all
    }()

    private static func known(_ command: Command) -> Facts {
        all[command.name]
            ?? Facts(isWriting: nil, isFast: false, group: "admin", keys: (0, 0, 0))
    }

    /// Writes Redis's ten elements: name, arity, flags, first key, last key, step, groups, hints,
    /// keys once more, subcommands.
    static func describe(_ command: Command, _ reply: ReplyWriter) {
        let facts = known(command)
        reply.array(10)
        reply.bulk(command.name)
        reply.integer(command.arity)
        var flags = facts.isWriting.map { [$0 ? "write" : "readonly"] } ?? []
        if command.isForSubscribers { flags.append("pubsub") }
        if facts.isFast { flags.append("fast") }
        writeSet(flags, reply)
        for number in [facts.keys.first, facts.keys.last, facts.keys.step] { reply.integer(number) }
        let access = facts.isWriting.map { [$0 ? "@write" : "@read"] } ?? []
        writeSet(access + ["@" + facts.group, facts.isFast ? "@fast" : "@slow"], reply)
        reply.array(0)
        describeKeys(facts, reply)
        reply.array(0)
    }

    private static func describeKeys(_ facts: Facts, _ reply: ReplyWriter) {
        guard facts.keys.first > 0, let isWriting = facts.isWriting else { return reply.array(0) }
        let (first, last, step) = facts.keys
        reply.array(1)
        reply.map(3)
        reply.bulk("flags")
        writeSet(isWriting ? ["RW", "update"] : ["RO", "access"], reply)
        reply.bulk("begin_search")
        writeSearch("index", [("index", first)], reply)
        reply.bulk("find_keys")
        // This index counts from the first key.
        let range = [("lastkey", last < 0 ? last : last - first), ("keystep", step), ("limit", 0)]
        writeSearch("range", range, reply)
    }

    private static func writeSearch(
        _ type: String, _ fields: [(String, Int)], _ reply: ReplyWriter
    ) {
        reply.map(2)
        reply.bulk("type")
        reply.bulk(type)
        reply.bulk("spec")
        reply.map(fields.count)
        for (name, value) in fields {
            reply.bulk(name)
            reply.integer(value)
        }
    }

    private static func writeSet(_ words: [String], _ reply: ReplyWriter) {
        reply.set(words.count)
        for word in words { reply.simpleText(word) }
    }
}
