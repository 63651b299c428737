/// Containers free memory when most of their members are removed, and lose no other member.
import Testing

@testable import KVStore

@Suite struct ContainerTests {
    private let many = 20_000
    private let few = 100

    private func name(_ number: Int) -> [UInt8] { Array("member:\(number)".utf8) }

    @Test("a list emptied from both ends keeps its order and shrinks")
    func aListThatIsEmptiedFromEitherEndKeepsItsOrderAndShrinks() {
        let list = ByteList()
        for number in 0..<many { name(number).withUnsafeBytes { list.append($0) } }
        var left = Array(0..<many)
        while left.count > few {
            // Removing in runs moves the ring's start to every place.
            for _ in 0..<min(7, left.count) {
                list.removeFirst()
                left.removeFirst()
            }
            list.removeLast()
            left.removeLast()
            _ = list.shrink()
        }
        #expect(list.count == left.count)
        #expect(left.indices.allSatisfy { list[$0] == name(left[$0]) })
        #expect(list.capacity <= 8 * few)
        name(-1).withUnsafeBytes { list.prepend($0) }
        #expect(list[0] == name(-1) && list[1] == name(left[0]))
    }

    @Test("a set shrinks and still contains the remaining members")
    func aSetShrinksAndFindsWhatIsLeft() {
        let set = ByteSet()
        for number in 0..<many { _ = name(number).withUnsafeBytes { set.insert($0) } }
        for number in few..<many {
            let wasThere = name(number).withUnsafeBytes { set.remove($0) }
            #expect(wasThere)
            _ = set.shrink()
        }
        #expect(set.count == few && set.members.count == few)
        #expect((0..<few).allSatisfy { number in name(number).withUnsafeBytes(set.contains) })
        #expect(set.capacity <= 16 * few)
    }

    @Test("a sorted set shrinks and keeps its order")
    func aSortedSetShrinksAndKeepsItsOrder() {
        let set = SortedSet()
        for number in 0..<many { name(number).withUnsafeBytes { set.set(Double(number), of: $0) } }
        for number in few..<many {
            let wasThere = name(number).withUnsafeBytes { set.remove($0) }
            #expect(wasThere)
            _ = set.shrink()
        }
        #expect(set.items(from: 0).map { Int($0.score) } == Array(0..<few))
        #expect(
            (0..<few).allSatisfy { number in
                name(number).withUnsafeBytes { set.score(of: $0) } == Double(number)
            })
        #expect(set.capacity <= 16 * few)
    }

    @Test("a set that was always small does not shrink")
    func aSmallOneKeepsItsMemory() {
        let set = ByteSet()
        for number in 0..<20 { _ = name(number).withUnsafeBytes { set.insert($0) } }
        for number in 1..<20 { _ = name(number).withUnsafeBytes { set.remove($0) } }
        let freed = set.shrink()
        #expect(freed == 0)
    }

    @Test("a list shrinks at once after a command that removes many members")
    func aListShrinksAtOnceAfterACommandThatTakesMany() {
        let list = ByteList()
        for number in 0..<many { name(number).withUnsafeBytes { list.append($0) } }
        for _ in 0..<(many - 1) { list.removeFirst() }
        let freed = list.shrink()
        #expect(freed > many / 2)
        #expect(list.capacity <= 64 && list[0] == name(many - 1))
    }

    /// Pieces of the sorted array of which a few members are left each.
    @Test("a sorted set shrinks when members from everywhere in it are removed")
    func aSortedSetWhoseMembersGoEverywhereShrinksToo() {
        let set = SortedSet()
        for number in 0..<many { name(number).withUnsafeBytes { set.set(Double(number), of: $0) } }
        for number in 0..<many where number % 100 != 0 {
            _ = name(number).withUnsafeBytes { set.remove($0) }
            _ = set.shrink()
        }
        #expect(
            set.items(from: 0).map { Int($0.score) } == Array(stride(from: 0, to: many, by: 100)))
        #expect(set.capacity <= 16 * many / 100)
    }
}
