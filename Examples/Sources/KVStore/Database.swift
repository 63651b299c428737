import Glibc
import RESPCodec
import Synchronization

/// The keys, channels and commands: the whole server except the network.
// `profiles` is accessed only under `register`.
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

    /// Creates an empty database. If it is shared, any thread may execute requests. Otherwise only
    /// one thread may execute requests and sweep, and it needs no locks.
    public init(isShared: Bool = true) { store = Store(isShared: isShared) }

    /// Counts requests in groups, because threads would contend for one shared counter at each
    /// request.
    public func count(executed number: Int) { executed.add(number, ordering: .relaxed) }

    /// Counts a subscriber that was disconnected because it did not receive its messages.
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

    /// Removes a session. No message is delivered to it from here on.
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

    /// Calls `body` with the number and the profile of each connected client, the oldest first.
    func forEachProfile(_ body: (Int, Profile) -> Void) {
        let all = register.alone { profiles }
        for (id, profile) in all.sorted(by: { $0.key < $1.key }) { body(id, profile) }
    }
}
