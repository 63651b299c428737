import RESPCodec

// Commands on keys of any type, on some keys or on all.
extension Command {
    static let keys = [
        Command("del", -2) { call in
            countKeys(call) { shard, entry in shard.remove(entry) }
        },
        Command("unlink", -2) { call in
            countKeys(call) { shard, entry in shard.remove(entry) }
        },
        Command("exists", -2) { call in countKeys(call) { _, _ in } },
        Command("type", 2) { call in
            call.withEntry { _, entry in call.reply.simple(entry?.typeName ?? "none") }
        },
        Command("keys", 2) { keys($0) },
        Command("scan", -2) { scan($0) },
        Command("dbsize", 1) { call in
            var count = 0
            call.database.store.forEachShard { count += $0.count }
            call.reply.integer(count)
        },
        Command("flushall", -1) { flush($0) },
        // FLUSHDB removes all keys too, since there is one database.
        Command("flushdb", -1) { flush($0) },
    ]

    private static func flush(_ call: Call) {
        let isKnown = call.count == 2 && (isWord(call[1], "ASYNC") || isWord(call[1], "SYNC"))
        guard call.count == 1 || isKnown else { return call.reply.error(Complaint.syntax) }
        call.database.store.removeAll()
        call.reply.ok()
    }

    private static func countKeys(_ call: Call, _ body: (Shard, Entry) -> Void) {
        let store = call.database.store
        var found = 0
        store.withShards(of: call.keys) {
            for key in call.keys {
                let hash = store.hash(key)
                let shard = store.lockedShard(hash)
                guard let entry = shard.find(key, hash, call.now) else { continue }
                body(shard, entry)
                found += 1
            }
        }
        call.reply.integer(found)
    }

    private static func keys(_ call: Call) {
        var found = FoundKeys(room: call.reply.room)
        call.database.store.forEachShard { shard in
            shard.forEach(call.now) { entry in
                if matches(call[1], entry.key.bytes) { found.add(entry.key.bytes) }
            }
        }
        found.write(to: call.reply)
        // The search may have lasted long.
        call.forgetTime()
    }

    private static func scan(_ call: Call) {
        // A cursor has any 64 bits, with either sign before them.
        guard
            let cursor = UInt(text(call[1])) ?? Decimal.parse(call[1]).map(UInt.init(bitPattern:))
        else {
            return call.reply.error("ERR invalid cursor")
        }
        var count = 10
        var pattern: UnsafeRawBufferPointer?
        var type: String?
        for index in stride(from: 2, to: call.count, by: 2) {
            guard index + 1 < call.count else { return call.reply.error(Complaint.syntax) }
            if isWord(call[index], "COUNT") {
                guard let number = call.number(index + 1) else { return }
                guard number >= 1 else { return call.reply.error(Complaint.syntax) }
                count = number
            } else if isWord(call[index], "MATCH") {
                pattern = call[index + 1]
            } else if isWord(call[index], "TYPE") {
                type = text(call[index + 1]).lowercased()
            } else {
                return call.reply.error(Complaint.syntax)
            }
        }
        var found = FoundKeys(room: call.reply.room)
        let store = call.database.store
        let next = store.scan(cursor, atLeast: count, call.now) { entry in
            if let type, type != "\(entry.typeName)" { return }
            let isWanted = pattern.map { matches($0, entry.key.bytes) } ?? true
            if isWanted { found.add(entry.key.bytes) }
        }
        call.reply.array(2)
        call.reply.bulk("\(next)")
        found.write(to: call.reply)
    }
}

/// Copies of keys, as many as one reply can hold. Their number must be known before the first is
/// written.
private struct FoundKeys {
    private var keys: [[UInt8]] = []
    private var room: Int

    init(room: Int) { self.room = room }

    mutating func add(_ key: UnsafeRawBufferPointer) {
        guard room >= 0 else { return }
        room -= key.count
        if room >= 0 { keys.append([UInt8](key)) }
    }

    func write(to reply: ReplyWriter) {
        guard room >= 0 else { return reply.overflow() }
        reply.array(keys.count)
        for key in keys { reply.bulk(key) }
    }
}
