import Glibc
import RESPCodec
import Synchronization

/// Keys, channels and commands: everything but the network.
public final class Database: Sendable {
    public let store: Store
    let hub = Hub()
    let commands = CommandTable()
    let started = Clock.milliseconds()
    let clients = Atomic(0)
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

    public func opened(_ session: Session) { clients.add(1, ordering: .relaxed) }

    /// Nothing is delivered to it from here on.
    public func closed(_ session: Session) {
        clients.subtract(1, ordering: .relaxed)
        for channel in session.channels.keys {
            channel.withBytes { hub.unsubscribe(session.id, from: [UInt8]($0)) }
        }
        session.leaveAll()
    }
}
