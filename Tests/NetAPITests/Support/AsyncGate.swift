import MillraceTestSupport

/// A gate at which tasks wait until the test opens it.
import class MillraceEventLoop.Monitor

final class AsyncGate: Sendable {
    /// Gates at which the answers to some requests of the pages' handlers wait.
    static let ofRequests = Shared<[String: AsyncGate]>([:])

    private let state = Monitor<(waiting: [CheckedContinuation<Void, Never>], isOpen: Bool)>(
        ([], false))

    /// The number of tasks that wait.
    var guests: Int { state.withLock { $0.waiting.count } }

    func open() {
        let waiting = state.update { state in
            state.isOpen = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for one in waiting { one.resume() }
    }

    func wait() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.update { state in
                if !state.isOpen { state.waiting.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }
}
