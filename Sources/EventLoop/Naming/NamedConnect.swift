/// A connect by name on its loop: the decisions of its race, and the sockets of its attempts.
final class NamedConnect {
    let id: UInt64
    let target: NamedTarget
    let lookup: Lookup
    /// The name by which a caller can cancel the whole connect.
    let name: ConnectName?
    let done: ConnectResult
    @exclusivity(unchecked) var race: ConnectRace
    @exclusivity(unchecked) var timer = TimerQueue<TimerAction>.ID.none
    /// The socket of each attempt, in the order of the attempts; nil: it has none.
    @exclusivity(unchecked) var sockets: [Token?] = []

    init(
        id: UInt64, target: NamedTarget, name: ConnectName?, race: ConnectRace,
        done: @escaping ConnectResult
    ) {
        self.id = id
        self.target = target
        self.name = name
        self.race = race
        self.done = done
        lookup = Lookup(host: target.host, family: target.family)
    }
}

/// The goal of a connect by name.
package struct NamedTarget: Sendable {
    package let host: String
    package let family: AddressFamily?
    package let port: UInt16
    package let isDatagram: Bool
    /// The name to verify in a handshake; nil: the connection has no filter.
    package let securedName: String?

    package init(
        host: String, family: AddressFamily?, port: UInt16, isDatagram: Bool = false,
        securedName: String? = nil
    ) {
        self.host = host
        self.family = family
        self.port = port
        self.isDatagram = isDatagram
        self.securedName = securedName
    }
}

/// The place of an attempt in its race. It stays the same when the attempt needs another socket.
struct RaceEntry {
    let connect: NamedConnect
    let attempt: Int
}

/// The connects by name of a loop that are not over. An answer that comes later finds none.
struct NamedConnects {
    private var running: [UInt64: NamedConnect] = [:]
    private var lastID: UInt64 = 0

    mutating func nextID() -> UInt64 {
        lastID += 1
        return lastID
    }

    mutating func add(_ connect: NamedConnect) { running[connect.id] = connect }
    mutating func remove(_ id: UInt64) { running[id] = nil }
    func find(_ id: UInt64) -> NamedConnect? { running.isEmpty ? nil : running[id] }

    /// All of them, the oldest first, so that a simulated run is the same each time.
    var all: [NamedConnect] { running.values.sorted { $0.id < $1.id } }
}
