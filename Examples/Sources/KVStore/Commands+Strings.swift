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
            // Asked for its bytes alone, the entry is not retained.
            let bytes = lent._withUnsafeGuaranteedRef {
                $0.container == nil ? $0.string.bytes : nil
            }
            guard let bytes else { return call.wrongType() }
            call.reply.bulk(bytes)
        }
    }

    /// A bulk string, a null or an error; false after an error, and if the string is too long for a
    /// reply.
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

/// What may follow SET's value.
private struct SetOptions {
    var onlyIfAbsent = false
    var onlyIfThere = false
    var keepsExpiry = false
    var returnsOld = false
    var expiry = Int.max

    /// Where EX or PX was found last, and what its unit is in milliseconds.
    private var time: (index: Int, scale: Int)?

    /// False after an error was written. The time is looked at when the words are known to be
    /// right, as Redis does it, which also lets EX or PX be repeated.
    mutating func read(_ call: Call) -> Bool {
        var index = 3
        while index < call.count {
            let word = call[index]
            if isWord(word, "NX"), !onlyIfThere {
                onlyIfAbsent = true
            } else if isWord(word, "XX"), !onlyIfAbsent {
                onlyIfThere = true
            } else if isWord(word, "GET") {
                returnsOld = true
            } else if isWord(word, "KEEPTTL"), time == nil {
                keepsExpiry = true
            } else if let scale = scale(word), !keepsExpiry, index + 1 < call.count,
                (time?.scale ?? scale) == scale
            {
                index += 1
                time = (index, scale)
            } else {
                call.reply.error(Complaint.syntax)
                return false
            }
            index += 1
        }
        return readTime(call)
    }

    private func scale(_ word: UnsafeRawBufferPointer) -> Int? {
        isWord(word, "EX") ? 1000 : isWord(word, "PX") ? 1 : nil
    }

    private mutating func readTime(_ call: Call) -> Bool {
        guard let time else { return true }
        guard let number = call.number(time.index) else { return false }
        guard number > 0, let expiry = absolute(number, time.scale, call.now) else {
            call.reply.error("ERR invalid expire time in 'set' command")
            return false
        }
        self.expiry = expiry
        return true
    }
}

/// The moment `time` units of `scale` milliseconds from now; nil if no Int holds it.
func absolute(_ time: Int, _ scale: Int, _ now: Int) -> Int? {
    let (milliseconds, overflow) = time.multipliedReportingOverflow(by: scale)
    let (moment, overflow2) = milliseconds.addingReportingOverflow(now)
    return overflow || overflow2 || moment == .max ? nil : moment
}
