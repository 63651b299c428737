import Synchronization

/// Threads for blocking work, started on demand up to a limit, with a bounded queue.
package final class WorkerPool: Sendable {
    package typealias Work = @Sendable () -> Void

    /// The place at which the work runs.
    package enum Running: Sendable {
        case onThreads
        /// For simulations: on the thread of `submit`, inside it.
        case atOnce
        /// For simulations: on the thread that calls `runNext`.
        case whenAsked
    }

    private struct State {
        /// A slot is set to nil when its work starts, so the pool keeps no work that has run.
        var queue: [Work?] = []
        /// The index of the first queued work; slots before it are nil.
        var head = 0
        var threads = 0
        var idle = 0
        var isStopped = false
        var refused = 0

        var waiting: Int { queue.count - head }

        mutating func take() -> Work? {
            guard head < queue.count else { return nil }
            var work: Work?
            swap(&work, &queue[head])
            head += 1
            if head == queue.count {
                queue.removeAll(keepingCapacity: true)
                head = 0
            } else if head >= 1024 {
                queue.removeFirst(head)
                head = 0
            }
            return work
        }
    }

    private let state = Monitor(State())
    private let skipped = Atomic(0)
    private let threadLimit: Int
    private let queueLimit: Int
    private let running: Running
    /// The masks of the thread that makes the pool. Loops start the pool's threads, but block every
    /// signal and may be bound to a processor. Blocking work would share that processor, and a
    /// process that it spawns would receive no signals.
    private let surroundings = ThreadSurroundings.current

    package init(threads: Int, queued: Int, running: Running = .onThreads) {
        self.running = running
        threadLimit = threads
        queueLimit = queued
    }

    /// Queues work, from any thread. False if the queue is full, no thread can be started, or after
    /// `stop`.
    package func submit(_ work: @escaping Work) -> Bool {
        if case .atOnce = running {
            work()
            return true
        }
        // One lock for the decision and the thread's start. So no work is queued without a thread,
        // and no two calls count on the same idle thread.
        return state.update { state in
            guard !state.isStopped else {
                state.refused += 1
                return false
            }
            if case .whenAsked = running { return enqueueUnasked(work, &state) }
            if state.idle <= state.waiting, state.threads < threadLimit, startThread() {
                state.threads += 1
                state.idle += 1
            }
            guard state.threads > 0, state.waiting - state.idle < queueLimit else {
                state.refused += 1
                return false
            }
            state.queue.append(work)
            return true
        }
    }

    /// Queues work for `runNext`. The queue has room for the work that threads would run.
    private func enqueueUnasked(_ work: @escaping Work, _ state: inout State) -> Bool {
        guard state.waiting - threadLimit < queueLimit else {
            state.refused += 1
            return false
        }
        state.queue.append(work)
        return true
    }

    /// Runs the first queued work on this thread. False if there is none.
    package func runNext() -> Bool {
        guard let work = state.update({ $0.take() }) else { return false }
        work()
        return true
    }

    /// The number of queued closures.
    package var waiting: Int { state.withLock { $0.waiting } }
    package var refusals: Int { state.withLock { $0.refused } }

    /// The number of closures skipped because their connection had closed.
    package var skips: Int { skipped.load(ordering: .relaxed) }
    package func noteSkipped() { skipped.add(1, ordering: .relaxed) }

    /// Drops queued work; work that runs continues to its end.
    package func stop() {
        var dropped: [Work?] = []
        state.update { state in
            state.isStopped = true
            swap(&state.queue, &dropped)
            state.head = 0
        }
        // Outside the lock: the release of a closure's captures may call this pool.
        dropped.removeAll()
    }

    /// Starts a thread. False if none can be started; existing threads then run the work.
    private func startThread() -> Bool {
        do throws(SystemError) {
            try LoopThread(name: "millrace-work", in: surroundings) { [state] in
                // The thread counts as idle from its start.
                guard Self.runNext(state) else { return }
                repeat { state.withLock { $0.idle += 1 } } while Self.runNext(state)
            }.detach()
            return true
        } catch {
            return false
        }
    }

    /// A function of its own, so that the work is released before the wait for the next.
    private static func runNext(_ state: Monitor<State>) -> Bool {
        guard let work = next(state) else { return false }
        work()
        return true
    }

    /// Returns work for an idle thread; nil when the pool is stopped.
    private static func next(_ state: Monitor<State>) -> Work? {
        // Not idle from the moment at which it has work: `submit` relies on that count.
        let work: Work?? = state.wait { state in
            let work = state.isStopped ? nil : state.take()
            guard state.isStopped || work != nil else { return nil }
            state.idle -= 1
            return .some(work)
        }
        return work ?? nil
    }
}
