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
        /// Those that overtake the others.
        var first: [Message] = []
        var isClosed = false
        var waker: (any Waker)?
    }

    private let state: Monitor<State>
    private let isNotified = Atomic(false)
    private let refused = Atomic(0)
    package let capacity: Int

    package init(capacity: Int, waker: any Waker) {
        self.capacity = capacity
        state = Monitor(State(waker: waker))
    }

    /// From any thread. `always` passes by the capacity, for what must not be refused: a
    /// descriptor, a stop. `first` overtakes every message that is not. With `counts` false a
    /// refusal is the caller's to count.
    package func post(
        _ message: Message, always: Bool = false, first: Bool = false, counts: Bool = true
    ) -> Outcome {
        let outcome = state.withLock { state -> Outcome in
            if state.isClosed { return .closed }
            if !always && state.messages.count >= capacity { return .full }
            if first { state.first.append(message) } else { state.messages.append(message) }
            return .accepted
        }
        if outcome == .accepted { notify() }
        if outcome == .full && counts { refused.add(1, ordering: .relaxed) }
        return outcome
    }

    /// How many posts found it full, of those that are counted here.
    package var refusals: Int { refused.load(ordering: .relaxed) }

    private func notify() {
        guard !isNotified.exchange(true, ordering: .acquiringAndReleasing) else { return }
        state.withLock { $0.waker }?.wake()
    }

    /// For the loop, when nothing is accepted any more: a port that somebody keeps holds no
    /// descriptor.
    package func forgetWaker() {
        var waker: (any Waker)?
        state.withLock { swap(&$0.waker, &waker) }
    }

    /// For the loop: false if certainly nothing is there, without taking the lock.
    package var mayHoldMessages: Bool { isNotified.load(ordering: .acquiring) }

    /// For the loop: moves everything into `batch`, those that overtake first; what it held before
    /// is dropped.
    package func take(into batch: inout [Message]) {
        batch.removeAll(keepingCapacity: true)
        // Before the look, not after it: a post that comes between the two wakes the loop once
        // more.
        isNotified.store(false, ordering: .sequentiallyConsistent)
        state.withLock { state in
            swap(&state.messages, &batch)
            guard !state.first.isEmpty else { return }
            batch.insert(contentsOf: state.first, at: 0)
            state.first = []
        }
    }

    /// For the loop, while it has messages left: only those that overtake. The others stay, and
    /// their wake-up stands.
    package func takeFirst() -> [Message] {
        state.withLock { state in
            defer { state.first = [] }
            return state.first
        }
    }

    /// For the loop: nothing is accepted from now on. Returns what was still there.
    package func close() -> [Message] {
        state.withLock { state in
            state.isClosed = true
            defer {
                state.messages = []
                state.first = []
            }
            return state.first + state.messages
        }
    }
}
