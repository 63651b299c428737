import MillraceEventLoop

/// Scheduled actions by virtual time, in a binary heap. Actions of the same time run in the order
/// in which they were added.
package struct Timetable {
    private struct Entry {
        let time: Nanoseconds
        let order: UInt64
        let action: () -> Void

        func isBefore(_ other: Entry) -> Bool { (time, order) < (other.time, other.order) }
    }

    private var heap: [Entry] = []
    private var order: UInt64 = 0

    package init() {}

    package var nextTime: Nanoseconds? { heap.first?.time }

    package mutating func add(at time: Nanoseconds, _ action: @escaping () -> Void) {
        order += 1
        heap.append(Entry(time: time, order: order, action: action))
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child].isBefore(heap[parent]) else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    /// Removes and returns the first action due at or before `time`, with its own time.
    package mutating func takeFirst(
        by time: Nanoseconds
    ) -> (time: Nanoseconds, action: () -> Void)? {
        guard let first = heap.first, first.time <= time else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            sink()
        }
        return (first.time, first.action)
    }

    private mutating func sink() {
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < heap.count && heap[child].isBefore(heap[least]) {
                least = child
            }
            guard least != parent else { return }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
