/// A gate at which blocking work waits until the test opens it.
import class MillraceEventLoop.Monitor

final class Gate: Sendable {
    private let state = Monitor((guests: 0, isOpen: false))

    /// True if a thread waits, or has waited.
    var isReached: Bool { state.withLock { $0.guests > 0 } }

    func open() { state.update { $0.isOpen = true } }

    func wait() {
        state.update { $0.guests += 1 }
        state.wait { $0.isOpen ? () : nil }
    }
}
