/// Threads for work that blocks, as many as are needed up to a limit, with a bounded queue.
package final class WorkerPool: Sendable {
    package typealias Work = @Sendable () -> Void

    private struct State {
        var queue: [Work] = []
        /// Where the queue begins: what is before it has been taken.
        var head = 0
        var threads = 0
        var idle = 0
        var isStopped = false
        var refused = 0

        var waiting: Int { queue.count - head }

        mutating func take() -> Work? {
            guard head < queue.count else { return nil }
            let work = queue[head]
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
    private let threadLimit: Int
    private let queueLimit: Int

    package init(threads: Int, queued: Int) {
        threadLimit = threads
        queueLimit = queued
    }

    /// From any thread: false if too much waits already, if no thread can be had, or after `stop`.
    package func submit(_ work: @escaping Work) -> Bool {
        // A thread first: work is not taken that nobody would ever do.
        let needsThread = state.withLock { state in
            let isShort = state.idle <= state.waiting && state.threads < threadLimit
            if isShort && !state.isStopped { state.threads += 1 }
            return isShort && !state.isStopped
        }
        if needsThread { startThread() }
        return state.update { state in
            guard !state.isStopped, state.threads > 0,
                state.waiting < queueLimit + max(state.idle, needsThread ? 1 : 0)
            else {
                state.refused += 1
                return false
            }
            state.queue.append(work)
            return true
        }
    }

    /// What waits for a thread.
    package var waiting: Int { state.update { $0.waiting } }
    package var refusals: Int { state.update { $0.refused } }

    /// What waits is dropped, what runs may end by itself.
    package func stop() {
        state.update { state in
            state.isStopped = true
            state.queue = []
            state.head = 0
        }
    }

    private func startThread() {
        do throws(SystemError) {
            try LoopThread(name: "millrace-work") { [state] in
                while let work = Self.next(state) { work() }
            }.detach()
        } catch {
            // The threads that there are take it.
            state.update { $0.threads -= 1 }
        }
    }

    /// Nil when the thread is no longer needed.
    private static func next(_ state: Monitor<State>) -> Work? {
        state.withLock { $0.idle += 1 }
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
