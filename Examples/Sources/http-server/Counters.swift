// Counters of the HTTP server, shared by all loops.
import HTTPCodec
import Synchronization

final class Counter: Sendable {
    private let number = Atomic(0)
    var value: Int { number.load(ordering: .relaxed) }
    func add() { number.add(1, ordering: .relaxed) }
}

/// Requests that were refused with a close of the connection, counted by status.
final class Refusals: Sendable {
    static let reasons: [Status] = [
        .badRequest, .requestTimeout, .contentTooLarge, .uriTooLong, .expectationFailed,
        .headerFieldsTooLarge, .notImplemented, .versionNotSupported,
    ]
    private let counters = reasons.map { _ in Counter() }

    func add(_ status: Status) {
        if let index = Self.reasons.firstIndex(of: status) { counters[index].add() }
    }

    var values: [(status: Status, count: Int)] {
        zip(Self.reasons, counters).map { ($0, $1.value) }
    }
}
