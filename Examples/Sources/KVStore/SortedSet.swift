import Glibc

/// Members in the order of their scores; members of one score are in the order of their bytes. They
/// are stored in a sorted array cut into pieces, so that a change moves few of them. A dictionary
/// has the scores by member.
final class SortedSet {
    struct Item {
        let score: Double
        let member: Bytes

        func isBefore(_ other: Item) -> Bool {
            score != other.score ? score < other.score : member.isBefore(other.member)
        }
    }

    private static let longestPiece = 256

    /// The pieces, none of which is empty.
    private var pieces: [[Item]] = []
    private var scores: [Bytes: Double] = [:]

    var count: Int { scores.count }

    func score(of member: UnsafeRawBufferPointer) -> Double? { scores[.lent(member)] }

    /// Adds the member, or changes its score.
    func set(_ score: Double, of member: UnsafeRawBufferPointer) {
        if let old = scores[.lent(member)] {
            guard old != score else { return }
            _ = remove(member)
        }
        let item = Item(score: score, member: Bytes(copying: member))
        scores[item.member] = score
        guard !pieces.isEmpty else { return pieces.append([item]) }
        // The item belongs to the last piece that begins before it, or to the first.
        let number = max(0, countPieces { $0[0].isBefore(item) } - 1)
        let place = Self.count(in: pieces[number]) { $0.isBefore(item) }
        pieces[number].insert(item, at: place)
        guard pieces[number].count > Self.longestPiece else { return }
        let half = Array(pieces[number][(Self.longestPiece / 2)...])
        pieces[number].removeLast(half.count)
        pieces.insert(half, at: number + 1)
    }

    /// Removes a member; returns false if the set does not contain it.
    func remove(_ member: UnsafeRawBufferPointer) -> Bool {
        guard let score = scores[.lent(member)] else { return false }
        let item = Item(score: score, member: .lent(member))
        let number = countPieces { !item.isBefore($0[0]) } - 1
        let place = Self.count(in: pieces[number]) { $0.isBefore(item) }
        pieces[number].remove(at: place)
        scores[.lent(member)] = nil
        join(number)
        return true
    }

    /// Removes the first `count` members.
    func removeFirst(_ count: Int) {
        var left = count
        for item in items(from: 0).prefix(count) { scores[item.member] = nil }
        var whole = 0
        while whole < pieces.count, pieces[whole].count <= left {
            left -= pieces[whole].count
            whole += 1
        }
        pieces.removeFirst(whole)
        if left > 0 { pieces[0].removeFirst(left) }
    }

    func shrink() -> Int {
        let freed = scores.shrink()
        guard freed > 0 else { return 0 }
        let items = Array(pieces.joined())
        pieces = stride(from: 0, to: items.count, by: Self.longestPiece / 2).map { start in
            Array(items[start..<min(items.count, start + Self.longestPiece / 2)])
        }
        return freed
    }

    /// The number of members that fit into the current memory.
    var capacity: Int { max(scores.capacity, pieces.reduce(0) { $0 + $1.capacity }) }

    /// Returns the number of members before the first one for which `isBefore` is false.
    func rank(_ isBefore: (Item) -> Bool) -> Int {
        let number = countPieces { isBefore($0[0]) } - 1
        guard number >= 0 else { return 0 }
        let before = pieces[..<number].reduce(0) { $0 + $1.count }
        return before + Self.count(in: pieces[number], isBefore)
    }

    /// Returns the members from `rank` on, in ascending order.
    func items(from rank: Int) -> some Sequence<Item> {
        let (number, place) = place(of: rank)
        return pieces[number...].lazy.enumerated().lazy.flatMap { index, piece in
            piece[(index == 0 ? place : 0)...]
        }
    }

    /// Returns the members from `rank` on, in descending order.
    func reversedItems(from rank: Int) -> some Sequence<Item> {
        let (number, place) = place(of: rank)
        return pieces[..<min(pieces.count, number + 1)].reversed().lazy.enumerated().lazy
            .flatMap { index, piece in
                piece[..<(index == 0 ? min(piece.count, place + 1) : piece.count)].reversed()
            }
    }

    private func place(of rank: Int) -> (piece: Int, place: Int) {
        var (number, left) = (0, rank)
        while number < pieces.count, left >= pieces[number].count {
            left -= pieces[number].count
            number += 1
        }
        return (number, number < pieces.count ? left : 0)
    }

    /// Removes an empty piece, and joins two short neighbours into one piece.
    private func join(_ number: Int) {
        if pieces[number].isEmpty {
            pieces.remove(at: number)
        } else if number + 1 < pieces.count, areShort(number) {
            pieces[number] += pieces.remove(at: number + 1)
        } else if number > 0, areShort(number - 1) {
            pieces[number - 1] += pieces.remove(at: number)
        }
    }

    /// Whether this piece and the next one fit into half a piece.
    private func areShort(_ number: Int) -> Bool {
        pieces[number].count + pieces[number + 1].count <= Self.longestPiece / 2
    }

    private func countPieces(_ isBefore: ([Item]) -> Bool) -> Int {
        Self.count(in: pieces, isBefore)
    }

    /// Returns the number of elements at the start of `list` for which `isBefore` is true, by
    /// binary search.
    private static func count<T>(in list: [T], _ isBefore: (T) -> Bool) -> Int {
        var (low, high) = (0, list.count)
        while low < high {
            let middle = (low + high) / 2
            if isBefore(list[middle]) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

extension Bytes {
    /// Returns whether these bytes sort before `other`; a prefix sorts before a longer text.
    func isBefore(_ other: Bytes) -> Bool {
        withBytes { one in
            other.withBytes { other in
                let common = min(one.count, other.count)
                let order = common == 0 ? 0 : memcmp(one.baseAddress!, other.baseAddress!, common)
                return order != 0 ? order < 0 : one.count < other.count
            }
        }
    }
}
