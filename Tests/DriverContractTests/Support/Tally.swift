import Synchronization

/// A count that several threads use. It has its own file: with Synchronization imported, Swift 6.3
/// cannot expand the macros of a test.
final class Tally: Sendable {
    private let value = Atomic<Int>(0)

    var count: Int { value.load(ordering: .sequentiallyConsistent) }
    func add() { value.add(1, ordering: .sequentiallyConsistent) }
}
