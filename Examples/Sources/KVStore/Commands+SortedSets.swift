import RESPCodec

// ZADD, ZRANGE and the other commands on sorted sets.
extension Command {
    static let sortedSets = [
        Command("zadd", -4) { zadd($0) },
        Command("zrem", -3) { call in
            withSortedSet(call) { shard, entry, set in
                guard let entry, let set else { return call.reply.integer(0) }
                var removed = 0
                for index in 2..<call.count where set.remove(call[index]) { removed += 1 }
                shard.membersRemoved(from: entry)
                call.reply.integer(removed)
            }
        },
        Command("zcard", 2) { call in
            withSortedSet(call) { _, _, set in call.reply.integer(set?.count ?? 0) }
        },
        Command("zscore", 3) { call in
            withSortedSet(call) { _, _, set in
                guard let score = set?.score(of: call[2]) else { return call.reply.null() }
                write(score, to: call.reply)
            }
        },
        Command("zpopmin", -2) { popFirst($0) },
        Command("zrange", -4) { call in
            var range = SortedRange()
            guard range.read(call) else { return }
            withSortedSet(call) { _, _, set in
                guard let set else { return call.reply.array(0) }
                range.write(of: set, to: call.reply)
            }
        },
    ]

    static func write(_ score: Double, to reply: ReplyWriter) {
        score.withDigits { reply.double($0) }
    }

    /// Calls `body` with the sorted set at the first argument, nil if there is no such key. Writes
    /// an error if the key has another type.
    private static func withSortedSet(
        _ call: Call, _ body: (Shard, Entry?, SortedSet?) -> Void
    ) {
        call.withEntry { shard, entry in
            guard let entry else { return body(shard, nil, nil) }
            guard case .sortedSet(let set) = entry.container else { return call.wrongType() }
            body(shard, entry, set)
        }
    }

    private static func zadd(_ call: Call) {
        var options = AddOptions()
        guard let start = options.read(call) else { return }
        var scores: [Double] = []
        for index in stride(from: start, to: call.count, by: 2) {
            guard let score = Double(text: call[index]) else {
                return call.reply.error(Complaint.notFloat)
            }
            scores.append(score)
        }
        call.withKey { shard, hash in
            let set: SortedSet
            let old = shard.find(call[1], hash, call.now)
            if let old {
                guard case .sortedSet(let found) = old.container else { return call.wrongType() }
                set = found
            } else {
                set = SortedSet()
            }
            var change = SortedChange(options: options, set: set)
            for (number, score) in scores.enumerated() {
                change.take(score, call[start + 2 * number + 1])
            }
            if old == nil, set.count > 0 {
                shard.findOrInsert(call[1], hash, call.now).container = .sortedSet(set)
            }
            change.write(to: call.reply)
        }
    }

    /// Removes the first members. All of them are written before the first is removed, because the
    /// reply may become too long.
    private static func popFirst(_ call: Call) {
        guard call.count <= 3 else { return call.reply.error(Complaint.syntax) }
        var wanted = 1
        if call.count == 3 {
            guard let amount = call.amount(2) else { return }
            wanted = amount
        }
        withSortedSet(call) { shard, entry, set in
            guard let entry, let set, wanted > 0 else { return call.reply.array(0) }
            let amount = min(wanted, set.count)
            // In RESP3, a request with a count gets pairs.
            let isPaired = call.count == 3 && call.reply.version > 2
            call.reply.array(isPaired ? amount : 2 * amount)
            for item in set.items(from: 0).prefix(amount) {
                if isPaired { call.reply.array(2) }
                item.member.withBytes { call.reply.bulk($0) }
                write(item.score, to: call.reply)
            }
            guard !call.reply.hasOverflowed else { return }
            set.removeFirst(amount)
            shard.membersRemoved(from: entry)
        }
    }
}

/// The options between ZADD's key and the first score.
private struct AddOptions {
    var onlyIfAbsent = false
    var onlyIfThere = false
    var onlyGreater = false
    var onlyLess = false
    var countsChanges = false
    var increments = false

    /// Reads the options and returns the index of the first score; nil after an error was written.
    mutating func read(_ call: Call) -> Int? {
        var index = 2
        while index < call.count, take(call[index]) { index += 1 }
        let rest = call.count - index
        let complaint: String? =
            if rest == 0 || rest % 2 != 0 {
                Complaint.syntax
            } else if onlyIfAbsent, onlyIfThere {
                "ERR XX and NX options at the same time are not compatible"
            } else if [onlyIfAbsent, onlyGreater, onlyLess].count(where: { $0 }) > 1 {
                "ERR GT, LT, and/or NX options at the same time are not compatible"
            } else if increments, rest > 2 {
                "ERR INCR option supports a single increment-element pair"
            } else {
                nil
            }
        guard let complaint else { return index }
        call.reply.error(complaint)
        return nil
    }

    private mutating func take(_ word: UnsafeRawBufferPointer) -> Bool {
        if isWord(word, "NX") {
            onlyIfAbsent = true
        } else if isWord(word, "XX") {
            onlyIfThere = true
        } else if isWord(word, "GT") {
            onlyGreater = true
        } else if isWord(word, "LT") {
            onlyLess = true
        } else if isWord(word, "CH") {
            countsChanges = true
        } else if isWord(word, "INCR") {
            increments = true
        } else {
            return false
        }
        return true
    }
}

/// The changes that ZADD has made so far.
private struct SortedChange {
    let options: AddOptions
    let set: SortedSet
    private var added = 0
    private var changed = 0
    private var score: Double?
    private var isNaN = false

    init(options: AddOptions, set: SortedSet) {
        self.options = options
        self.set = set
    }

    mutating func take(_ given: Double, _ member: UnsafeRawBufferPointer) {
        guard let old = set.score(of: member) else {
            guard !options.onlyIfThere else { return }
            set.set(given, of: member)
            added += 1
            score = given
            return
        }
        guard !options.onlyIfAbsent else { return }
        let new = options.increments ? old + given : given
        isNaN = new.isNaN
        guard !isNaN else { return }
        if options.onlyGreater, new <= old { return }
        if options.onlyLess, new >= old { return }
        score = new
        guard new != old else { return }
        set.set(new, of: member)
        changed += 1
    }

    func write(to reply: ReplyWriter) {
        if isNaN {
            reply.error("ERR resulting score is not a number (NaN)")
        } else if !options.increments {
            reply.integer(options.countsChanges ? added + changed : added)
        } else if let score {
            Command.write(score, to: reply)
        } else {
            reply.null()
        }
    }
}
