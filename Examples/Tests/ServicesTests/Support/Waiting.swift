/// Waits of bounded time, and an event for which a task waits.
import TestSupport

private let limit = Duration.seconds(Patience.seconds(atLeast: 30))

/// Runs `body` in a task of its own and waits for its end. A body that never returns stays behind,
/// and the test fails.
func patiently<Output: Sendable>(
    _ what: String, _ body: @escaping @Sendable () async throws -> Output
) async throws -> Output {
    let (results, result) = AsyncStream.makeStream(of: Result<Output, any Error>.self)
    Task {
        do {
            result.yield(.success(try await body()))
        } catch {
            result.yield(.failure(error))
        }
    }
    let alarm = Task {
        try await Task.sleep(for: limit)
        result.yield(.failure(Failure("\(what): not within \(limit)")))
    }
    defer { alarm.cancel() }
    for await result in results { return try result.get() }
    throw Failure("\(what): the test was cancelled")
}

/// Checks `condition` each millisecond until it holds.
func eventually(_ what: String, _ condition: () throws -> Bool) async throws {
    let end = ContinuousClock.now + limit
    while try !condition() {
        guard ContinuousClock.now < end else { throw Failure("\(what): not within \(limit)") }
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
