import Synchronization

/// What other threads hand to a loop, in the order of each caller. Bounded, and honest when it is
/// full or closed.
///
/// A waker call is made only by the post that finds nobody has made one since the loop last looked,
/// so a wake-up can be neither lost nor repeated for each message.
package final class Mailbox<Message: Sendable>: Sendable {
    package enum Outcome: Sendable {
        case accepted
        /// Holds `capacity` messages: the loop is behind.
        case full
        /// The loop has ended and will not look again.
        case closed
    }

    private struct State {
        var messages: [Message] = []
        var isClosed = false
    }

    private let state = Monitor(State())
    private let isNotified = Atomic(false)
    private let refused = Atomic(0)
    private let waker: any Waker
    package let capacity: Int

    package init(capacity: Int, waker: any Waker) {
        self.capacity = capacity
        self.waker = waker
    }

    /// From any thread. `always` passes by the capacity, for what must not be refused: a
    /// descriptor, a stop.
    package func post(_ message: Message, always: Bool = false) -> Outcome {
        let outcome = state.withLock { state -> Outcome in
            if state.isClosed { return .closed }
            if !always && state.messages.count >= capacity { return .full }
            state.messages.append(message)
            return .accepted
        }
        if outcome == .accepted { notify() }
        if outcome == .full { refused.add(1, ordering: .relaxed) }
        return outcome
    }

    /// How many posts found it full.
    package var refusals: Int { refused.load(ordering: .relaxed) }

    private func notify() {
        if !isNotified.exchange(true, ordering: .acquiringAndReleasing) { waker.wake() }
    }

    /// For the loop: false if certainly nothing is there, without taking the lock.
    package var mayHoldMessages: Bool { isNotified.load(ordering: .acquiring) }

    /// For the loop: moves everything into `batch`, which comes back empty of what it held before.
    package func take(into batch: inout [Message]) {
        batch.removeAll(keepingCapacity: true)
        // Before the look, not after it: a post that comes between the two wakes the loop once
        // more.
        isNotified.store(false, ordering: .sequentiallyConsistent)
        state.withLock { swap(&$0.messages, &batch) }
    }

    /// For the loop: nothing is accepted from now on. Returns what was still there.
    package func close() -> [Message] {
        state.withLock { state in
            state.isClosed = true
            defer { state.messages = [] }
            return state.messages
        }
    }
}
