import RESPCodec

/// The range that ZRANGE requests: by rank, by score or by the members' bytes, from either end.
struct SortedRange {
    private enum Order {
        case rank
        case score
        case bytes
    }

    private var order = Order.rank
    private var isReversed = false
    private var withScores = false
    private var offset = 0
    /// The most members to return; negative for all.
    private var most = -1
    /// Returns the ranks from the first member to the one after the last, in ascending order.
    private var find: (SortedSet) -> Range<Int> = { _ in 0..<0 }

    /// Reads the arguments; returns false after an error was written.
    mutating func read(_ call: Call) -> Bool {
        var isLimited = false
        var index = 4
        while index < call.count {
            if isWord(call[index], "WITHSCORES") {
                withScores = true
            } else if isWord(call[index], "BYSCORE") {
                order = .score
            } else if isWord(call[index], "BYLEX") {
                order = .bytes
            } else if isWord(call[index], "REV") {
                isReversed = true
            } else if isWord(call[index], "LIMIT"), index + 2 < call.count {
                guard let offset = call.number(index + 1), let most = call.number(index + 2)
                else { return false }
                (self.offset, self.most) = (offset, most)
                isLimited = true
                index += 2
            } else {
                call.reply.error(Complaint.syntax)
                return false
            }
            index += 1
        }
        if isLimited, order == .rank {
            call.reply.error(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or "
                    + "BYLEX")
            return false
        }
        if withScores, order == .bytes {
            call.reply.error(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX")
            return false
        }
        return readBounds(call)
    }

    private mutating func readBounds(_ call: Call) -> Bool {
        // With REV, the greater bound comes first. Ranks keep their order but count from the other
        // end.
        let isSwapped = isReversed && order != .rank
        let (lowest, highest) = isSwapped ? (3, 2) : (2, 3)
        switch order {
        case .rank:
            guard let first = call.number(2), let last = call.number(3) else { return false }
            find = { [isReversed] in Self.ranks(first, last, $0.count, isReversed) }
        case .score:
            guard let low = ScoreBound(call[lowest]), let high = ScoreBound(call[highest])
            else {
                call.reply.error("ERR min or max is not a float")
                return false
            }
            find = { set in
                let start = set.rank { low.leavesOutBelow($0.score) }
                return start..<max(start, set.rank { !high.leavesOutAbove($0.score) })
            }
        case .bytes:
            guard let low = MemberBound(call[lowest]), let high = MemberBound(call[highest])
            else {
                call.reply.error("ERR min or max not valid string range item")
                return false
            }
            find = { set in
                let start = set.rank { !low.isAtMost($0.member) }
                return start..<max(start, set.rank { high.isAtLeast($0.member) })
            }
        }
        return true
    }

    private static func ranks(
        _ first: Int, _ last: Int, _ count: Int, _ isReversed: Bool
    ) -> Range<Int> {
        let start = max(0, first < 0 ? first + count : first)
        let end = min(count - 1, last < 0 ? last + count : last)
        guard start <= end else { return 0..<0 }
        return isReversed ? count - 1 - end..<count - start : start..<end + 1
    }

    func write(of set: SortedSet, to reply: ReplyWriter) {
        let found = find(set)
        let left = offset < 0 || offset > found.count ? 0 : found.count - offset
        let count = most < 0 ? left : min(left, most)
        // In RESP3, a member and its score are a pair.
        let isPaired = withScores && reply.version > 2
        reply.array(withScores && !isPaired ? 2 * count : count)
        func write(_ item: SortedSet.Item) {
            if isPaired { reply.array(2) }
            item.member.withBytes { reply.bulk($0) }
            if withScores { Command.write(item.score, to: reply) }
        }
        guard count > 0 else { return }
        if isReversed {
            let start = found.upperBound - 1 - offset
            for item in set.reversedItems(from: start).prefix(count) { write(item) }
        } else {
            let start = found.lowerBound + offset
            for item in set.items(from: start).prefix(count) { write(item) }
        }
    }
}

/// A bound on scores, which excludes its own score with a `(`.
private struct ScoreBound {
    let score: Double
    let isOpen: Bool

    init?(_ text: UnsafeRawBufferPointer) {
        isOpen = text.first == UInt8(ascii: "(")
        let rest = UnsafeRawBufferPointer(rebasing: text.dropFirst(isOpen ? 1 : 0))
        // Redis reads an empty bound as zero.
        guard let score = rest.isEmpty ? 0 : Double(text: rest) else { return nil }
        self.score = score
    }

    /// Returns whether the bound, as the lower end, excludes this score.
    func leavesOutBelow(_ other: Double) -> Bool { isOpen ? other <= score : other < score }

    /// Returns whether the bound, as the upper end, excludes this score.
    func leavesOutAbove(_ other: Double) -> Bool { isOpen ? other >= score : other > score }
}

/// A bound on members: `-`, `+`, or a member after a `[`, which includes it, or a `(`, which does
/// not.
private enum MemberBound {
    case first
    case last
    case member(Bytes, isOpen: Bool)

    init?(_ text: UnsafeRawBufferPointer) {
        let rest = UnsafeRawBufferPointer(rebasing: text.dropFirst())
        switch text.first {
        case UInt8(ascii: "-") where text.count == 1: self = .first
        case UInt8(ascii: "+") where text.count == 1: self = .last
        case UInt8(ascii: "["): self = .member(Bytes(copying: rest), isOpen: false)
        case UInt8(ascii: "("): self = .member(Bytes(copying: rest), isOpen: true)
        default: return nil
        }
    }

    /// Returns whether the bound, as the lower end, includes this member.
    func isAtMost(_ other: Bytes) -> Bool {
        switch self {
        case .first: true
        case .last: false
        case .member(let bound, let isOpen): isOpen ? bound.isBefore(other) : !other.isBefore(bound)
        }
    }

    /// Returns whether the bound, as the upper end, includes this member.
    func isAtLeast(_ other: Bytes) -> Bool {
        switch self {
        case .first: false
        case .last: true
        case .member(let bound, let isOpen): isOpen ? other.isBefore(bound) : !bound.isBefore(other)
        }
    }
}
