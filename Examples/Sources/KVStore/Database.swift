import Glibc
import RESPCodec
import Synchronization

/// Keys, channels and commands: everything but the network.
// `profiles` is touched only under `register`.
public final class Database: @unchecked Sendable {
    public let store: Store
    let hub = Hub()
    let commands = CommandTable()
    let started = Clock.milliseconds()
    let clients = Atomic(0)
    let accepted = Atomic(0)
    private let register = Lock()
    private var profiles: [Int: Profile] = [:]
    let executed = Atomic(0)
    let repliesRefused = Atomic(0)
    let subscribersCutOff = Atomic(0)

    /// If shared, any thread may execute requests; else one alone may, and sweep, which spares it
    /// the locks.
    public init(isShared: Bool = true) { store = Store(isShared: isShared) }

    /// Counts requests in groups: one shared counter for each would be fought over.
    public func count(executed number: Int) { executed.add(number, ordering: .relaxed) }

    /// Counts one that did not take its messages.
    public func countSubscriberCutOff() { subscribersCutOff.add(1, ordering: .relaxed) }

    func resetCounts() {
        accepted.store(0, ordering: .relaxed)
        executed.store(0, ordering: .relaxed)
        repliesRefused.store(0, ordering: .relaxed)
        subscribersCutOff.store(0, ordering: .relaxed)
        store.swept.store(0, ordering: .relaxed)
    }

    public func opened(_ session: Session) {
        clients.add(1, ordering: .relaxed)
        accepted.add(1, ordering: .relaxed)
        let (id, profile) = (session.id, session.profile)
        register.alone { profiles[id] = profile }
    }

    /// Nothing is delivered to it from here on.
    public func closed(_ session: Session) {
        clients.subtract(1, ordering: .relaxed)
        let id = session.id
        register.alone { profiles[id] = nil }
        unsubscribeAll(session)
    }

    func unsubscribeAll(_ session: Session) {
        for channel in session.channels.keys {
            channel.withBytes { hub.unsubscribe(session, from: [UInt8]($0), .channel) }
        }
        for pattern in session.patterns.keys {
            pattern.withBytes { hub.unsubscribe(session, from: [UInt8]($0), .pattern) }
        }
        session.leaveAll()
    }

    /// The clients that are connected, the oldest first.
    func forEachProfile(_ body: (Int, Profile) -> Void) {
        let all = register.alone { profiles }
        for (id, profile) in all.sorted(by: { $0.key < $1.key }) { body(id, profile) }
    }
}
