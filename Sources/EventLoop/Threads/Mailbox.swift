import Synchronization

/// Messages of other threads for a loop, in the order of each caller. Bounded: reports when it is
/// full or closed.
///
/// Only the first post since the loop's last `take` calls the waker. So no wake-up is lost, and
/// none is repeated for each message.
package final class Mailbox<Message: Sendable>: Sendable {
    package enum Outcome: Sendable {
        case accepted
        /// The mailbox holds `capacity` messages: the loop is behind.
        case full
        /// The loop has ended and will not read it again.
        case closed
    }

    private struct State {
        var messages: [Message] = []
        /// Messages that overtake the others.
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

    /// Posts a message, from any thread. `always` ignores the capacity, for a message that must not
    /// be refused: a descriptor, a stop. `first` overtakes every message without it. With `counts`
    /// false the caller counts a refusal.
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

    /// The number of posts that found it full, if posted with `counts`.
    package var refusals: Int { refused.load(ordering: .relaxed) }

    private func notify() {
        guard !isNotified.exchange(true, ordering: .acquiringAndReleasing) else { return }
        state.withLock { $0.waker }?.wake()
    }

    /// For the loop, after `close`: a remote end that the program keeps then holds no descriptor.
    package func forgetWaker() {
        var waker: (any Waker)?
        state.withLock { swap(&$0.waker, &waker) }
    }

    /// For the loop: false only if the mailbox is empty. Does not lock.
    package var mayHoldMessages: Bool { isNotified.load(ordering: .acquiring) }

    /// For the loop: moves all messages into `batch`, overtaking ones first. The previous contents
    /// of `batch` are dropped.
    package func take(into batch: inout [Message]) {
        batch.removeAll(keepingCapacity: true)
        // Cleared before the messages are moved: a post in between wakes the loop once more.
        isNotified.store(false, ordering: .sequentiallyConsistent)
        state.withLock { state in
            swap(&state.messages, &batch)
            guard !state.first.isEmpty else { return }
            batch.insert(contentsOf: state.first, at: 0)
            state.first = []
        }
    }

    /// For the loop, while it has messages left: returns only overtaking messages. The others stay,
    /// and so does their wake-up.
    package func takeFirst() -> [Message] {
        state.withLock { state in
            defer { state.first = [] }
            return state.first
        }
    }

    /// For the loop: refuses messages from now on. Returns those that were still queued.
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
