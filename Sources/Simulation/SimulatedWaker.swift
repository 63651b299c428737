import MillraceEventLoop
import Synchronization

/// A waker that counts its calls and leaves a mark for the next wait. It is atomic, so that a test
/// may call it from a thread.
package final class SimulatedWaker: Waker {
    private let calls = Atomic<Int>(0)
    private let mark = Atomic<Bool>(false)

    package func wake() {
        calls.add(1, ordering: .relaxed)
        mark.store(true, ordering: .releasing)
    }

    package var count: Int { calls.load(ordering: .relaxed) }
    package var isMarked: Bool { mark.load(ordering: .acquiring) }

    func consume() { mark.store(false, ordering: .sequentiallyConsistent) }
}
