import RESPCodec

// SADD, SPOP and the other commands on sets.
extension Command {
    static let sets = [
        Command("sadd", -3) { sadd($0) },
        Command("srem", -3) { call in
            withSet(call) { shard, entry, set in
                guard let entry, let set else { return call.reply.integer(0) }
                var removed = 0
                for index in 2..<call.count where set.remove(call[index]) {
                    removed += 1
                }
                shard.membersRemoved(from: entry)
                call.reply.integer(removed)
            }
        },
        Command("smembers", 2) { call in
            withSet(call) { _, _, set in
                call.reply.set(set?.members.count ?? 0)
                for member in set?.members ?? [] { member.withBytes { call.reply.bulk($0) } }
            }
        },
        Command("scard", 2) { call in
            withSet(call) { _, _, set in call.reply.integer(set?.count ?? 0) }
        },
        Command("spop", -2) { spop($0) },
        Command("sismember", 3) { call in
            withSet(call) { _, _, set in
                call.reply.integer(set?.contains(call[2]) == true ? 1 : 0)
            }
        },
    ]

    /// Calls `body` with the set at the first argument, nil if there is no such key. Writes an
    /// error if the key has another type.
    private static func withSet(_ call: Call, _ body: (Shard, Entry?, ByteSet?) -> Void) {
        call.withEntry { shard, entry in
            guard let entry else { return body(shard, nil, nil) }
            guard case .set(let set) = entry.container else { return call.wrongType() }
            body(shard, entry, set)
        }
    }

    /// Removes random members. All of them are written before the first is removed, because the
    /// reply may become too long.
    private static func spop(_ call: Call) {
        guard call.count <= 3 else { return call.reply.error(Complaint.syntax) }
        var wanted: Int?
        if call.count == 3 {
            guard let amount = call.amount(2) else { return }
            wanted = amount
        }
        withSet(call) { shard, entry, set in
            guard let entry, let set else {
                return wanted == nil ? call.reply.null() : call.reply.set(0)
            }
            let amount = min(wanted ?? 1, set.count)
            set.shuffleLast(amount)
            if wanted != nil { call.reply.set(amount) }
            for member in set.members.suffix(amount) { member.withBytes { call.reply.bulk($0) } }
            guard !call.reply.hasOverflowed else { return }
            set.removeLast(amount)
            shard.membersRemoved(from: entry)
        }
    }

    private static func sadd(_ call: Call) {
        call.withKey { shard, hash in
            let set: ByteSet
            if let old = shard.find(call[1], hash, call.now) {
                guard case .set(let found) = old.container else { return call.wrongType() }
                set = found
            } else {
                set = ByteSet()
                shard.findOrInsert(call[1], hash, call.now).container = .set(set)
            }
            let before = set.count
            for index in 2..<call.count { _ = set.insert(call[index]) }
            call.reply.integer(set.count - before)
        }
    }
}
