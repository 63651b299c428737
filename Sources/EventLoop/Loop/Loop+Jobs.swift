/// Jobs of Swift's tasks: the parts of a task between two suspensions, run on the loop's thread.
extension Loop {
    /// The most jobs in one call. A task that never waits must not keep others from their turn.
    private static var jobsAtOnce: Int { 256 }

    /// Runs the queued jobs. Does nothing inside a job. Also called in callbacks, so that a task
    /// that was resumed by one sees the bytes that are lent to it.
    package func runJobs() {
        guard !isRunningJobs, !jobs.isEmpty else { return }
        isRunningJobs = true
        depth += 1
        var left = Self.jobsAtOnce
        while left > 0, let job = jobs.popFirst() {
            left -= 1
            // One job's writes form a datagram that those of others do not join.
            closureCount &+= 1
            remote.run(job)
        }
        depth -= 1
        isRunningJobs = false
        if depth == 0 && !retired.isEmpty { retired.free() }
    }

    /// Hands on the jobs of a loop that has ended, in their order: no two threads may run jobs of
    /// one executor at once.
    func passOnJobs() {
        while let job = jobs.popFirst() { remote.runLate(job) }
    }
}

/// A loop is an executor: tasks and actors can live on its thread. So they need no lock for what
/// lives there, and their calls to it need no change of the thread.
extension LoopRemote: TaskExecutor, SerialExecutor {
    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if let loop = Loop.current, loop.remote === self, !loop.hasEnded {
            return loop.jobs.append(job)
        }
        // Never refused: a job that is dropped is a task that never ends.
        if post(.job(job), always: true) != .accepted { runLate(job) }
    }

    fileprivate func runLate(_ job: UnownedJob) {
        if !Self.late.submit({ [self] in run(job) }) { run(job) }
    }

    /// The thread for tasks that outlive their loop: one, so that actors of a loop that has ended
    /// still have one thread at a time.
    private static let late = WorkerPool(threads: 1, queued: .max)

    fileprivate func run(_ job: UnownedJob) {
        job.runSynchronously(
            isolatedTo: asUnownedSerialExecutor(), taskExecutor: asUnownedTaskExecutor())
    }

    package func checkIsolated() {
        precondition(Loop.current?.remote === self, "not on this loop's thread")
    }
}
