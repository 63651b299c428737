/// A gate at which blocking work waits until the test opens it.
import NetAPI

import class MillraceEventLoop.Monitor

final class Gate: Sendable {
    private let state = Monitor((guests: 0, isOpen: false))

    /// The number of threads that wait, or have waited.
    var guests: Int { state.withLock { $0.guests } }

    var isReached: Bool { guests > 0 }

    func open() { state.update { $0.isOpen = true } }

    func wait() {
        state.update { $0.guests += 1 }
        state.wait { $0.isOpen ? () : nil }
    }

    /// Handles input: `block` keeps the loop at this gate, and `otherwise` handles all other input.
    func blocking(
        _ otherwise: @escaping TestHandler.OnConnection = TestHandler.echo
    ) -> TestHandler.OnConnection {
        { [self] connection in
            guard connection.bytes.equals("block") else { return try otherwise(connection) }
            connection.discardAll()
            wait()
            return .none
        }
    }
}
