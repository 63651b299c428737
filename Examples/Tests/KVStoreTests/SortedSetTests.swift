/// A sorted set against a plain sorted list, over random changes.
import Testing

@testable import KVStore

@Suite struct SortedSetTests {
    private func text(_ item: SortedSet.Item) -> String {
        item.member.withBytes { String(decoding: $0, as: UTF8.self) }
    }

    @Test("a sorted set equals a model after random changes and at each rank", arguments: 0..<5)
    func everyChangeAndEveryRank(_ seed: Int) {
        let set = SortedSet()
        var model: [String: Double] = [:]
        for step in 0..<6000 {
            let member = "m\(Int.random(in: 0..<1500))"
            let bytes = Array(member.utf8)
            // The set grows, then shrinks.
            if Int.random(in: 0..<6000) > step {
                let score = Double(Int.random(in: 0..<(seed == 0 ? 3 : 1000)))
                bytes.withUnsafeBytes { set.set(score, of: $0) }
                model[member] = score
            } else {
                let was = bytes.withUnsafeBytes { set.remove($0) }
                #expect(was == (model.removeValue(forKey: member) != nil))
            }
            guard step % 500 == 499 else { continue }
            let sorted = model.sorted {
                $0.value != $1.value ? $0.value < $1.value : $0.key < $1.key
            }.map(\.key)
            #expect(set.items(from: 0).map(text) == sorted)
            #expect(set.count == sorted.count)
            for rank in [0, sorted.count / 2, sorted.count - 1, sorted.count] where rank >= 0 {
                #expect(set.items(from: rank).map(text) == Array(sorted[rank...]))
                guard rank < sorted.count else { continue }
                let downwards = sorted.prefix(rank + 1).reversed()
                #expect(set.reversedItems(from: rank).map(text) == Array(downwards))
            }
        }
        let sorted = set.items(from: 0).map(text)
        let some = sorted.count / 2
        set.removeFirst(some)
        #expect(set.items(from: 0).map(text) == Array(sorted[some...]))
        set.removeFirst(set.count)
        #expect(set.count == 0 && Array(set.items(from: 0)).isEmpty)
    }
}
