import Synchronization

/// Threads for work that blocks, as many as are needed up to a limit, with a bounded queue.
package final class WorkerPool: Sendable {
    package typealias Work = @Sendable () -> Void

    private struct State {
        /// A slot is emptied when its work is taken: the pool keeps nothing of what has run.
        var queue: [Work?] = []
        /// Where the queue begins: what is before it has been taken.
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
    private let runsAtOnce: Bool
    /// Of whoever makes the pool: its threads are started by loops, which block every signal and
    /// may be bound to a processor. Blocking work would share that one, and a process that it
    /// spawns would never hear of a signal.
    private let surroundings = ThreadSurroundings.current

    /// `runsAtOnce` is for simulations: the work is done by the caller, inside `submit`.
    package init(threads: Int, queued: Int, runsAtOnce: Bool = false) {
        self.runsAtOnce = runsAtOnce
        threadLimit = threads
        queueLimit = queued
    }

    /// From any thread: false if too much waits already, if no thread can be had, or after `stop`.
    package func submit(_ work: @escaping Work) -> Bool {
        guard !runsAtOnce else {
            work()
            return true
        }
        // One decision under one lock, the thread's start included: work is not taken that nobody
        // would ever do, nor two pieces for the same idle thread.
        return state.update { state in
            guard !state.isStopped else {
                state.refused += 1
                return false
            }
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

    /// What waits for a thread.
    package var waiting: Int { state.withLock { $0.waiting } }
    package var refusals: Int { state.withLock { $0.refused } }

    /// Work that found nobody to do it for any more.
    package var skips: Int { skipped.load(ordering: .relaxed) }
    package func noteSkipped() { skipped.add(1, ordering: .relaxed) }

    /// What waits is dropped, what runs may end by itself.
    package func stop() {
        var dropped: [Work?] = []
        state.update { state in
            state.isStopped = true
            swap(&state.queue, &dropped)
            state.head = 0
        }
        // Here, and not under the lock: what a closure holds may ask this pool.
        dropped.removeAll()
    }

    /// False if none can be had: then the threads that there are take the work.
    private func startThread() -> Bool {
        do throws(SystemError) {
            try LoopThread(name: "millrace-work", in: surroundings) { [state] in
                // Counted as idle since it was asked for.
                guard Self.runNext(state) else { return }
                repeat { state.withLock { $0.idle += 1 } } while Self.runNext(state)
            }.detach()
            return true
        } catch {
            return false
        }
    }

    /// A function of its own, at whose end the work is let go of, before the next is waited for.
    private static func runNext(_ state: Monitor<State>) -> Bool {
        guard let work = next(state) else { return false }
        work()
        return true
    }

    /// For an idle thread; nil when it is no longer needed.
    private static func next(_ state: Monitor<State>) -> Work? {
        // No longer idle in the moment in which it has work: who submits counts on that.
        let work: Work?? = state.wait { state in
            let work = state.isStopped ? nil : state.take()
            guard state.isStopped || work != nil else { return nil }
            state.idle -= 1
            return .some(work)
        }
        return work ?? nil
    }
}
