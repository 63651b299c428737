import Synchronization

/// A count that several threads see. In a file of its own: with Synchronization imported, Swift 6.3
/// cannot expand the macros of a test.
final class Tally: Sendable {
    private let value = Atomic<Int>(0)

    var count: Int { value.load(ordering: .sequentiallyConsistent) }
    func add() { value.add(1, ordering: .sequentiallyConsistent) }
}
