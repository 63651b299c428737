/// The unanswered calls of a client, from each call's beginning to its answer or its error. The
/// table knows no connection, and its owner calls the closures of the calls that it returns.
import RPCCodec

struct CallTable {
    struct Call {
        let frame: Frame
        /// Whether the server may execute it twice.
        let isRepeatable: Bool
        /// The number of ticks at which it has failed.
        let deadline: Int
        let done: Calls.Done
    }

    private var calls: [UInt64: Call] = [:]
    /// The ids of calls that no connection has got, in the order to send them, and of some that
    /// have failed meanwhile. The first of a slice is removed without moving the others.
    private(set) var unsent: ArraySlice<UInt64> = []
    private var ticks = 0

    var count: Int { calls.count }

    mutating func add(
        _ frame: Frame, isRepeatable: Bool, ticks limit: Int, _ done: @escaping Calls.Done
    ) {
        // The present tick is over in less time than a whole one.
        calls[frame.id] = Call(
            frame: frame, isRepeatable: isRepeatable, deadline: ticks + limit + 1, done: done)
        // Calls may fail without end while there is no connection.
        if unsent.count >= 2 * Calls.most { unsent.removeAll { calls[$0] == nil } }
        unsent.append(frame.id)
    }

    /// Returns the next call to send, which counts as sent from then on.
    mutating func nextToSend() -> Frame? {
        while let id = unsent.popFirst() {
            // Calls that have failed meanwhile are no longer in the table.
            if let call = calls[id] { return call.frame }
        }
        return nil
    }

    /// Removes the call; nil if it has its answer or its error. A late answer is such a case.
    mutating func remove(_ id: UInt64) -> Call? { calls.removeValue(forKey: id) }

    /// Removes and returns the calls that were sent and may not be repeated. The others are sent
    /// again, before all later calls.
    mutating func connectionEnded(mayRepeat: Bool) -> [Call] {
        let waiting = Set(unsent)
        let sent = calls.filter { !waiting.contains($0.key) }
        let repeated = sent.filter { mayRepeat && $0.value.isRepeatable }
        unsent = repeated.keys.sorted() + unsent
        return take(sent.keys.filter { repeated[$0] == nil })
    }

    /// Removes and returns the calls that no connection has got.
    mutating func takeUnsent() -> [Call] {
        defer { unsent = [] }
        return take(Array(unsent))
    }

    /// Counts a tick. Removes and returns the calls whose time is over.
    mutating func tick() -> [Call] {
        ticks += 1
        return take(calls.filter { $0.value.deadline <= ticks }.keys.sorted())
    }

    private mutating func take(_ ids: [UInt64]) -> [Call] {
        ids.sorted().compactMap { calls.removeValue(forKey: $0) }
    }
}
