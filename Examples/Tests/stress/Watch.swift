// Calls that must return. A call that hangs is reported by its name.
import Glibc
import TestSupport

final class Watch: Sendable {
    private struct State {
        var next = 0
        var calls: [Int: (what: String, since: Int)] = [:]
    }

    private let state = Shared(State())
    private let limitMilliseconds: Int
    /// Called with all open calls when one of them hangs.
    private let report: @Sendable ([String]) -> Never

    init(limitMilliseconds: Int, report: @escaping @Sendable ([String]) -> Never) {
        self.limitMilliseconds = limitMilliseconds
        self.report = report
        _ = ownThread { [self] in look() }
    }

    func begin(_ what: String) -> Int {
        state.update { state in
            state.next += 1
            state.calls[state.next] = (what, now())
            return state.next
        }
    }

    func end(_ call: Int) { state.update { $0.calls[call] = nil } }

    func during<R>(_ what: String, _ body: () throws -> R) rethrows -> R {
        let call = begin(what)
        defer { end(call) }
        return try body()
    }

    func during<R: Sendable>(_ what: String, _ body: () async throws -> R) async rethrows -> R {
        let call = begin(what)
        defer { end(call) }
        return try await body()
    }

    private func look() {
        while true {
            sleep(milliseconds: 250)
            let (hangs, open) = state.update { state in
                let open = state.calls.values.sorted { $0.since < $1.since }
                    .map { "\($0.what), for \(now() - $0.since) ms" }
                let limit = now() - limitMilliseconds
                return (state.calls.values.contains { $0.since < limit }, open)
            }
            if hangs { report(open.map { "does not return: \($0)" }) }
        }
    }
}
