/// Real threads for tests of shared state.
import MillraceEventLoop

/// Starts `count` threads and returns at once; `join` waits for all of them.
struct ThreadTeam {
    private var threads: [LoopThread] = []

    init(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) throws {
        for index in 0..<count {
            threads.append(try LoopThread(name: "test-\(index)") { body(index) })
        }
    }

    func join() {
        for thread in threads { thread.join() }
    }
}
