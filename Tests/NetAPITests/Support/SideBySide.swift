/// Cases of a test that mostly wait, run at the same time.
///
/// For tests that measure no processor time, no memory and no descriptors of the whole process.
import MillraceTestSupport
import NetAPI
import Testing

/// Runs `body` for each case on a thread of its own, as a part of the running test. Errors are
/// recorded with their case.
func sideBySide<Case: Sendable & CustomTestStringConvertible>(
    _ cases: [Case], location: SourceLocation = #_sourceLocation,
    _ body: @escaping @Sendable (Case) throws -> Void
) async {
    await withTaskGroup { group in
        for one in cases {
            group.addTask(executorPreference: OwnThreads()) {
                do {
                    try body(one)
                } catch {
                    Issue.record(error, "\(one.testDescription)", sourceLocation: location)
                }
            }
        }
    }
}

/// Runs each job on a new thread, since bodies of tests block.
private final class OwnThreads: TaskExecutor {
    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        startThread { [self] in job.runSynchronously(on: asUnownedTaskExecutor()) }
    }
}
