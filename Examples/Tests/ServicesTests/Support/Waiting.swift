/// Waits of bounded time, and an event for which a task waits.
import TestSupport

/// Checks `condition` each millisecond until it holds.
func eventually(_ what: String, _ condition: () throws -> Bool) async throws {
    let deadline = Deadline()
    while try !condition() {
        try deadline.check(what)
        try await Task.sleep(for: .milliseconds(1))
    }
}

/// An event that happens once. One task waits for it.
struct Event: Sendable {
    private let moments: AsyncStream<Never>
    private let moment: AsyncStream<Never>.Continuation

    init() { (moments, moment) = AsyncStream.makeStream() }

    func happen() { moment.finish() }

    func wait() async { for await _ in moments {} }
}
