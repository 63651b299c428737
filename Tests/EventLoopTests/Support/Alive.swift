/// Counts the captured objects that are alive, on any thread, and calls back from their deinit.
import MillraceEventLoop

final class Alive: Sendable {
    private let counts = Monitor((made: 0, gone: 0))

    var made: Int { counts.withLock { $0.made } }
    var count: Int { counts.withLock { $0.made - $0.gone } }

    /// `leaving` runs in its deinit, like the code of a program's own deinit.
    final class Guest: Sendable {
        private let alive: Alive
        private let leaving: @Sendable () -> Void

        fileprivate init(_ alive: Alive, _ leaving: @escaping @Sendable () -> Void) {
            self.alive = alive
            self.leaving = leaving
        }

        deinit {
            leaving()
            alive.counts.update { $0.gone += 1 }
        }

        /// Does nothing: a closure calls it to capture the object.
        func use() {}
    }

    func guest(_ leaving: @escaping @Sendable () -> Void = {}) -> Guest {
        counts.update { $0.made += 1 }
        return Guest(self, leaving)
    }
}

/// Runs `body` on its own thread; false if it does not return in time. Then the thread stays: a
/// thread that waits for a lock forever cannot be ended.
func returns(
    secondsMax: Int = 10, _ body: @escaping @Sendable () -> Void
) throws -> Bool {
    let waker = ConditionWaker()
    try LoopThread(name: "test") {
        body()
        waker.wake()
    }.detach()
    return waker.sleep(secondsMax: secondsMax)
}
