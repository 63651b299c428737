import RESPCodec

// LPUSH, LRANGE and the other commands on lists.
extension Command {
    static let lists = [
        Command("lpush", -3) { call in push(call) { $0.prepend($1) } },
        Command("rpush", -3) { call in push(call) { $0.append($1) } },
        Command("lpop", -2) { call in
            pop(call, "lpop", { list, number in list[number] }) { $0.removeFirst() }
        },
        Command("rpop", -2) { call in
            pop(call, "rpop", { list, number in list[list.count - 1 - number] }) { $0.removeLast() }
        },
        Command("llen", 2) { call in
            withList(call) { _, _, list in call.reply.integer(list?.count ?? 0) }
        },
        Command("lrange", 4) { range($0) },
    ]

    /// Calls `body` with the list at the first argument, nil if there is no such key. Writes an
    /// error if the key has another type.
    private static func withList(_ call: Call, _ body: (Shard, Entry?, ByteList?) -> Void) {
        call.withEntry { shard, entry in
            guard let entry else { return body(shard, nil, nil) }
            guard case .list(let list) = entry.container else { return call.wrongType() }
            body(shard, entry, list)
        }
    }

    private static func push(
        _ call: Call, _ add: (ByteList, UnsafeRawBufferPointer) -> Void
    ) {
        call.withKey { shard, hash in
            let old = shard.find(call[1], hash, call.now)
            let list: ByteList
            if let old {
                guard case .list(let found) = old.container else { return call.wrongType() }
                list = found
            } else {
                list = ByteList()
                shard.findOrInsert(call[1], hash, call.now).container = .list(list)
            }
            for index in 2..<call.count { add(list, call[index]) }
            call.reply.integer(list.count)
        }
    }

    /// Removes elements from one end. `element` returns the element after a number of others. All
    /// elements are written before the first is removed, because the reply may become too long.
    private static func pop(
        _ call: Call, _ name: String, _ element: (ByteList, Int) -> [UInt8],
        _ remove: (ByteList) -> Void
    ) {
        guard call.count <= 3 else { return call.wrongCount(name) }
        var wanted: Int?
        if call.count == 3 {
            guard let amount = call.amount(2) else { return }
            wanted = amount
        }
        withList(call) { shard, entry, list in
            guard let entry, let list else {
                return wanted == nil ? call.reply.null() : call.reply.nullArray()
            }
            let amount = min(wanted ?? 1, list.count)
            if wanted != nil { call.reply.array(amount) }
            for number in 0..<amount { call.reply.bulk(element(list, number)) }
            guard !call.reply.hasOverflowed else { return }
            for _ in 0..<amount { remove(list) }
            shard.membersRemoved(from: entry)
        }
    }

    private static func range(_ call: Call) {
        guard let first = call.number(2), let last = call.number(3) else { return }
        withList(call) { _, _, list in
            let count = list?.count ?? 0
            let start = max(0, first < 0 ? first + count : first)
            let end = min(count - 1, last < 0 ? last + count : last)
            guard let list, start <= end else { return call.reply.array(0) }
            call.reply.array(end - start + 1)
            for index in start...end { call.reply.bulk(list[index]) }
        }
    }
}
