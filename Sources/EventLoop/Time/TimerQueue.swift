/// Deadlines in order: a 4-ary heap, with a handle per timer so that a cancel needs no search.
///
/// Equal deadlines fire in the order in which they were scheduled. The queue reads no clock.
package struct TimerQueue<Payload> {
    /// The name of one scheduled timer; stale once it has fired or was cancelled.
    package struct ID: Hashable, Sendable {
        let index: UInt32
        let generation: UInt32

        /// No timer: to cancel it does nothing.
        package static var none: ID { ID(index: .max, generation: 0) }
    }

    private struct Node {
        var deadline: Nanoseconds
        var sequence: UInt64
        var entry: UInt32

        func isBefore(_ other: Node) -> Bool {
            deadline != other.deadline ? deadline < other.deadline : sequence < other.sequence
        }
    }

    private struct Entry {
        var generation: UInt32 = 0
        /// The node's index in the heap.
        var place = 0
        var payload: Payload?
    }

    private var heap: [Node] = []
    private var entries: [Entry] = []
    private var free: [UInt32] = []
    private var sequence: UInt64 = 0

    package init() {}

    package var count: Int { heap.count }
    package var isEmpty: Bool { heap.isEmpty }
    package var nextDeadline: Nanoseconds? { heap.first?.deadline }

    @discardableResult
    package mutating func schedule(at deadline: Nanoseconds, _ payload: Payload) -> ID {
        let entry = free.popLast() ?? newEntry()
        sequence += 1
        entries[Int(entry)].payload = payload
        heap.append(Node(deadline: deadline, sequence: sequence, entry: entry))
        siftUp(heap.count - 1)
        return ID(index: entry, generation: entries[Int(entry)].generation)
    }

    /// False if the timer has fired, was cancelled, or never existed.
    @discardableResult
    package mutating func cancel(_ id: ID) -> Bool {
        guard isScheduled(id) else { return false }
        remove(at: entries[Int(id.index)].place)
        return true
    }

    package func isScheduled(_ id: ID) -> Bool {
        id.index < entries.count && entries[Int(id.index)].generation == id.generation
            && entries[Int(id.index)].payload != nil
    }

    /// Removes and returns the earliest timer if it is due.
    package mutating func popDue(at now: Nanoseconds) -> Payload? {
        guard let first = heap.first, first.deadline <= now else { return nil }
        return remove(at: 0)
    }

    private mutating func newEntry() -> UInt32 {
        entries.append(Entry())
        return UInt32(entries.count - 1)
    }

    @discardableResult
    private mutating func remove(at place: Int) -> Payload? {
        let entry = Int(heap[place].entry)
        let payload = entries[entry].payload.take()
        entries[entry].generation &+= 1
        free.append(UInt32(entry))
        let last = heap.removeLast()
        if place < heap.count {
            heap[place] = last
            entries[Int(last.entry)].place = place
            siftDown(place)
            siftUp(place)
        }
        return payload
    }

    private mutating func siftUp(_ start: Int) {
        var place = start
        let node = heap[place]
        while place > 0 {
            let parent = (place - 1) / 4
            guard node.isBefore(heap[parent]) else { break }
            move(heap[parent], to: place)
            place = parent
        }
        move(node, to: place)
    }

    private mutating func siftDown(_ start: Int) {
        var place = start
        let node = heap[place]
        while true {
            let firstChild = place * 4 + 1
            guard firstChild < heap.count else { break }
            var least = firstChild
            for child in firstChild..<min(firstChild + 4, heap.count)
            where heap[child].isBefore(heap[least]) {
                least = child
            }
            guard heap[least].isBefore(node) else { break }
            move(heap[least], to: place)
            place = least
        }
        move(node, to: place)
    }

    private mutating func move(_ node: Node, to place: Int) {
        heap[place] = node
        entries[Int(node.entry)].place = place
    }
}
