import MillraceEventLoop

/// A loop's owner: counts connections and records the loop's reports.
final class RecordingOwner: LoopOwner {
    enum Heard: Equatable {
        case stopRequested(String)
        case acceptingStopped
        case drained
        case caughtUp
        case backOff(Int32, retryIn: Nanoseconds)
        case acceptPaused
        case driverFailed(Int32)
        case other(String)
    }

    private struct State {
        var heard: [Heard] = []
        var alive = 0
        var parked = 0
        var limit = Int.max
        var mostPerHost = Int.max
        var hosts: [SocketAddress: Int] = [:]
        var closedPlaces: [Int] = []
        var ending: Int?
        var closesAwaited = 0
    }

    private let state = Monitor(State())

    /// The number of live connections.
    var alive: Int { state.withLock { $0.alive } }

    /// The number of live connections that is allowed.
    var limit: Int {
        get { state.withLock { $0.limit } }
        set { state.withLock { $0.limit = newValue } }
    }

    /// The places of the listeners that have closed, in that order.
    var closedPlaces: [Int] { state.withLock { $0.closedPlaces } }

    /// Returns the reports since the last call.
    func take() -> [Heard] {
        state.withLock { state in
            defer { state.heard = [] }
            return state.heard
        }
    }

    private func note(_ word: Heard) { state.withLock { $0.heard.append(word) } }

    func stopRequested(_ cause: StopCause) { note(.stopRequested("\(cause)")) }

    func isHandedOut(_ listener: BoundListener) -> Bool { false }

    func listenerCloses(_ listener: BoundListener) -> Bool { true }

    /// The place of a listener that is to end.
    var ending: Int? {
        get { state.withLock { $0.ending } }
        set { state.withLock { $0.ending = newValue } }
    }

    func isEnding(_ listener: BoundListener) -> Bool { ending == listener.place }

    func listenerClosed(_ listener: BoundListener) {
        state.withLock { $0.closedPlaces.append(listener.place) }
    }

    func caughtUp() { note(.caughtUp) }

    func acceptingStopped(_ loop: Int) { note(.acceptingStopped) }

    func drained(_ loop: Int) { note(.drained) }

    func report(_ event: LoopReport) {
        switch event {
        case .acceptBackOff(let error, _, let delay): note(.backOff(error.number, retryIn: delay))
        case .acceptPaused: note(.acceptPaused)
        case .driverFailed(let error, _): note(.driverFailed(error.number))
        default: note(.other("\(event)"))
        }
    }

    func takeRoom() -> Bool {
        state.withLock { state in
            guard state.alive < state.limit - state.parked else { return false }
            state.alive += 1
            return true
        }
    }

    func connectionParked() { state.withLock { $0.parked += 1 } }

    func takeRoomForParked() -> Bool {
        state.withLock { state in
            guard state.alive < state.limit else { return false }
            state.alive += 1
            state.parked -= 1
            return true
        }
    }

    func parkedConnectionAdded() {
        state.withLock { state in
            state.alive += 1
            state.parked -= 1
        }
    }

    func connectionAdded() { state.withLock { $0.alive += 1 } }

    func connectionClosed() { state.withLock { $0.alive -= 1 } }

    /// The number of calls of `acceptAwaitsClose`.
    var closesAwaited: Int { state.withLock { $0.closesAwaited } }

    func acceptAwaitsClose() { state.withLock { $0.closesAwaited += 1 } }

    /// The number of connections of a host that is allowed.
    var mostPerHost: Int {
        get { state.withLock { $0.mostPerHost } }
        set { state.withLock { $0.mostPerHost = newValue } }
    }

    func hostConnected(_ host: SocketAddress) -> Bool {
        state.withLock { state in
            guard state.hosts[host, default: 0] < state.mostPerHost else { return false }
            state.hosts[host, default: 0] += 1
            return true
        }
    }

    func hostDisconnected(_ host: SocketAddress) {
        state.withLock { $0.hosts[host, default: 0] -= 1 }
    }

    var hasRoom: Bool { state.withLock { $0.alive < $0.limit - $0.parked } }
}
