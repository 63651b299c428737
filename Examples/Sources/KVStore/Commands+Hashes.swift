import RESPCodec

// HSET, HGET and the other commands on hashes.
extension Command {
    static let hashes = [
        Command("hset", -4) { hset($0) },
        Command("hget", 3) { call in
            withMap(call) { _, _, map in
                guard let value = map?.values[.lent(call[2])] else { return call.reply.null() }
                call.reply.bulk(value)
            }
        },
        Command("hmget", -3) { call in
            withMap(call) { _, _, map in
                call.reply.array(call.count - 2)
                for index in 2..<call.count {
                    if let value = map?.values[.lent(call[index])] {
                        call.reply.bulk(value)
                    } else {
                        call.reply.null()
                    }
                }
            }
        },
        Command("hexists", 3) { call in
            withMap(call) { _, _, map in
                call.reply.integer(map?.values[.lent(call[2])] == nil ? 0 : 1)
            }
        },
        Command("hlen", 2) { call in
            withMap(call) { _, _, map in call.reply.integer(map?.values.count ?? 0) }
        },
        Command("hdel", -3) { call in
            withMap(call) { shard, entry, map in
                guard let entry, let map else { return call.reply.integer(0) }
                var removed = 0
                for index in 2..<call.count
                where map.values.removeValue(forKey: .lent(call[index])) != nil {
                    removed += 1
                }
                shard.membersRemoved(from: entry)
                call.reply.integer(removed)
            }
        },
        Command("hgetall", 2) { call in
            withMap(call) { _, _, map in
                call.reply.map(map?.values.count ?? 0)
                for (field, value) in map?.values ?? [:] {
                    field.withBytes { call.reply.bulk($0) }
                    call.reply.bulk(value)
                }
            }
        },
        Command("hincrby", 4) { hincrby($0) },
    ]

    /// Calls `body` with the hash at the first argument, nil if there is no such key. Writes an
    /// error if the key has another type.
    private static func withMap(_ call: Call, _ body: (Shard, Entry?, ByteMap?) -> Void) {
        call.withEntry { shard, entry in
            guard let entry else { return body(shard, nil, nil) }
            guard case .hash(let map) = entry.container else { return call.wrongType() }
            body(shard, entry, map)
        }
    }

    /// Like `withMap`, but makes a hash if there is no such key.
    private static func withNewMap(_ call: Call, _ body: (ByteMap) -> Void) {
        call.withKey { shard, hash in
            if let old = shard.find(call[1], hash, call.now) {
                guard case .hash(let map) = old.container else { return call.wrongType() }
                return body(map)
            }
            let map = ByteMap()
            body(map)
            // After an error the hash is empty, and an empty hash is not stored.
            guard !map.values.isEmpty else { return }
            shard.findOrInsert(call[1], hash, call.now).container = .hash(map)
        }
    }

    private static func hset(_ call: Call) {
        guard call.count % 2 == 0 else { return call.wrongCount("hset") }
        withNewMap(call) { map in
            let before = map.values.count
            for index in stride(from: 2, to: call.count, by: 2) {
                map.values[Bytes(copying: call[index])] = [UInt8](call[index + 1])
            }
            call.reply.integer(map.values.count - before)
        }
    }

    private static func hincrby(_ call: Call) {
        guard let amount = call.number(3) else { return }
        withNewMap(call) { map in
            let value = map.values[.lent(call[2])] ?? [UInt8(ascii: "0")]
            guard let old = value.withUnsafeBytes({ Decimal.parse($0) }) else {
                return call.reply.error("ERR hash value is not an integer")
            }
            let (new, overflow) = old.addingReportingOverflow(amount)
            guard !overflow else { return call.reply.error(Complaint.overflow) }
            withDigits(new) { map.values[Bytes(copying: call[2])] = [UInt8]($0) }
            call.reply.integer(new)
        }
    }
}
