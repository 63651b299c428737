import RESPCodec

// GET, SET and the other commands on strings.
extension Command {
    static let strings = [
        Command("get", 2, get),
        Command("set", -3, set),
        Command("getdel", 2) { call in
            call.withEntry { shard, entry in
                if writeString(entry, call), let entry { shard.remove(entry) }
            }
        },
        Command("getex", -2) { getex($0) },
        Command("setex", 4) { setex($0, .seconds) },
        Command("psetex", 4) { setex($0, .milliseconds) },
        Command("setnx", 3) { call in
            call.withKey { shard, hash in
                guard shard.find(call[1], hash, call.now) == nil else {
                    return call.reply.integer(0)
                }
                shard.findOrInsert(call[1], hash, call.now).setString(call[2])
                call.reply.integer(1)
            }
        },
        Command("append", 3) { append($0) },
        Command("strlen", 2) { call in
            call.withEntry { _, entry in
                guard entry?.container == nil else { return call.wrongType() }
                call.reply.integer(entry?.string.count ?? 0)
            }
        },
        Command("mget", -2) { mget($0) },
        Command("mset", -3) { mset($0) },
    ]

    private static func get(_ call: Call) {
        call.withKey { shard, hash in
            guard let lent = shard.lend(call[1], hash, call.now) else { return call.reply.null() }
            // The closure returns only the bytes, so the entry is not retained.
            let bytes = lent._withUnsafeGuaranteedRef {
                $0.container == nil ? $0.string.bytes : nil
            }
            guard let bytes else { return call.wrongType() }
            call.reply.bulk(bytes)
        }
    }

    /// Writes a bulk string, a null or an error. Returns false after an error, and if the string is
    /// too long for a reply.
    private static func writeString(_ entry: Entry?, _ call: Call) -> Bool {
        guard let entry else {
            call.reply.null()
            return true
        }
        guard entry.container == nil else {
            call.wrongType()
            return false
        }
        call.reply.bulk(entry.string.bytes)
        return !call.reply.hasOverflowed
    }

    private static func set(_ call: Call) {
        guard call.count == 3 else { return setWithOptions(call) }
        call.withKey { shard, hash in
            guard let lent = shard.lend(call[1], hash, call.now) else {
                return shard.insert(call[1], hash).setString(call[2])
            }
            lent._withUnsafeGuaranteedRef { entry in
                entry.setString(call[2])
                if entry.expiry != .max { shard.setExpiry(of: entry, .max) }
            }
        }
        call.reply.ok()
    }

    private static func setWithOptions(_ call: Call) {
        var options = SetOptions()
        guard options.read(call) else { return }
        call.withKey { shard, hash in
            let old = shard.find(call[1], hash, call.now)
            if options.returnsOld, old?.container != nil { return call.wrongType() }
            let isWanted = old == nil ? !options.onlyIfThere : !options.onlyIfAbsent
            if options.returnsOld, !writeString(old, call) { return }
            guard isWanted else {
                if !options.returnsOld { call.reply.null() }
                return
            }
            let entry = old ?? shard.findOrInsert(call[1], hash, call.now)
            entry.setString(call[2])
            if !options.keepsExpiry, entry.expiry != options.expiry {
                shard.setExpiry(of: entry, options.expiry)
            }
            if !options.returnsOld { call.reply.ok() }
        }
    }

    private static func setex(_ call: Call, _ unit: ExpiryTime.Unit) {
        guard let moment = ExpiryTime(index: 2, unit: unit).read(call) else { return }
        call.withKey { shard, hash in
            let entry = shard.findOrInsert(call[1], hash, call.now)
            entry.setString(call[3])
            shard.setExpiry(of: entry, moment)
        }
        call.reply.ok()
    }

    /// Executes GETEX. Like Redis, it reads the words first, and the time only if there is a
    /// string.
    private static func getex(_ call: Call) {
        var options = SetOptions(isForReading: true)
        guard options.readWords(call) else { return }
        call.withEntry { shard, entry in
            guard let entry else { return call.reply.null() }
            guard entry.container == nil else { return call.wrongType() }
            guard options.readTime(call), writeString(entry, call) else { return }
            if options.isPersistent {
                shard.setExpiry(of: entry, .max)
            } else if options.expiry <= call.now {
                shard.remove(entry)
            } else if options.expiry != .max {
                shard.setExpiry(of: entry, options.expiry)
            }
        }
    }

    private static func append(_ call: Call) {
        call.withKey { shard, hash in
            let entry = shard.findOrInsert(call[1], hash, call.now)
            guard entry.container == nil else { return call.wrongType() }
            guard entry.string.count + call[2].count <= 512 << 20 else {
                return call.reply.error(
                    "ERR string exceeds maximum allowed size (proto-max-bulk-len)")
            }
            entry.string.append(call[2])
            call.reply.integer(entry.string.count)
        }
    }

    private static func mget(_ call: Call) {
        let store = call.database.store
        call.reply.array(call.count - 1)
        store.withShards(of: call.keys) {
            for key in call.keys {
                let hash = store.hash(key)
                let entry = store.lockedShard(hash).find(key, hash, call.now)
                if let entry, entry.container == nil {
                    call.reply.bulk(entry.string.bytes)
                } else {
                    call.reply.null()
                }
            }
        }
    }

    private static func mset(_ call: Call) {
        guard call.count % 2 == 1 else { return call.wrongCount("mset") }
        let store = call.database.store
        let keys = stride(from: 1, to: call.count, by: 2)
        store.withShards(of: keys.lazy.map { call[$0] }) {
            for index in keys {
                let hash = store.hash(call[index])
                let shard = store.lockedShard(hash)
                let entry = shard.findOrInsert(call[index], hash, call.now)
                entry.setString(call[index + 1])
                shard.setExpiry(of: entry, .max)
            }
        }
        call.reply.ok()
    }
}
