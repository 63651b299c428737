import Synchronization

/// The messages that wait for the subscribers of one loop. All messages of other loops' clients
/// until the delivery need only one wake-up of the loop and one list.
// The stored state is accessed only under the lock; `wake` is set before the first subscription.
public final class Post: @unchecked Sendable {
    private struct Parcel {
        let message: Message
        let members: [Member]
    }

    /// The bytes to be written that may wait before publishers must wait.
    private static let mostBytes = 8 << 20

    private let lock = Lock()
    private var waiting: [Parcel] = []
    private var isWoken = false
    private let bytes = Atomic(0)
    private var wake: (@Sendable () -> Bool)?

    public init() {}

    /// Sets the closure that makes the loop call `deliver()` soon. It returns false if the loop
    /// accepts no work.
    public func set(wake: @escaping @Sendable () -> Bool) { self.wake = wake }

    /// Whether the post has a loop that delivers. Without a loop, the publisher delivers.
    var isElsewhere: Bool { wake != nil }

    /// Whether too many bytes wait for the loop, so that publishers must wait.
    public var isCongested: Bool { bytes.load(ordering: .relaxed) > Self.mostBytes }

    /// Adds a message. With `isHere`, the caller is on that loop and delivers.
    func add(_ message: Message, _ members: [Member], isHere: Bool) {
        bytes.add(Self.weight(message, members), ordering: .relaxed)
        let wakes = lock.alone { () -> Bool in
            waiting.append(Parcel(message: message, members: members))
            guard !isHere, !isWoken else { return false }
            isWoken = true
            return true
        }
        if wakes, wake?() != true { giveUp() }
    }

    /// Delivers all waiting messages. Called on the post's loop, or on the publisher's thread if
    /// the post has no loop.
    public func deliver() {
        while true {
            let parcels = take()
            guard !parcels.isEmpty else { return }
            for parcel in parcels {
                for member in parcel.members {
                    member.deliver(parcel.message, member.subscription)
                }
                delivered(parcel)
            }
        }
    }

    /// Disconnects subscribers that cannot receive a message, because a message lost without notice
    /// would be worse.
    private func giveUp() {
        for parcel in take() {
            for member in parcel.members { member.cutOff() }
            delivered(parcel)
        }
    }

    private func take() -> [Parcel] {
        lock.alone {
            isWoken = false
            var taken: [Parcel] = []
            swap(&taken, &waiting)
            return taken
        }
    }

    private func delivered(_ parcel: Parcel) {
        bytes.subtract(Self.weight(parcel.message, parcel.members), ordering: .relaxed)
    }

    private static func weight(_ message: Message, _ members: [Member]) -> Int {
        message.size * members.count
    }
}
