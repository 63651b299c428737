/// Time that a loop itself measures, for tests of events that must not happen.
import MillraceTestSupport
import NetAPI

extension LoopHandle {
    /// Waits until this loop has turned for `time`: it has seen all events before the call.
    func pass(_ time: Duration) throws {
        let isOver = Shared(false)
        let isRunning = execute { loop in loop.schedule(after: time) { isOver.value = true } }
        try must(isRunning, "the loop has ended")
        try eventually("\(time) of the loop") { isOver.value }
    }
}
