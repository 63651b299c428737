import Synchronization

/// Messages on their way to the subscribers of one loop. What several clients of other loops
/// publish until that loop comes to it is one wake-up for it, and one list.
// What it stores is touched only under the lock; `wake` is set before anybody subscribes.
public final class Post: @unchecked Sendable {
    private struct Parcel {
        let message: Message
        let members: [Member]
    }

    /// What may wait, in bytes to be written, before publishers are held back.
    private static let mostBytes = 8 << 20

    private let lock = Lock()
    private var waiting: [Parcel] = []
    private var isWoken = false
    private let bytes = Atomic(0)
    private var wake: (@Sendable () -> Bool)?

    public init() {}

    /// `wake` has the loop call `deliver()` soon; false if the loop takes nothing.
    public func set(wake: @escaping @Sendable () -> Bool) { self.wake = wake }

    /// Has a loop of its own that delivers. Without one, who publishes does.
    var isElsewhere: Bool { wake != nil }

    /// More waits than its loop should have before it: publishers wait.
    public var isCongested: Bool { bytes.load(ordering: .relaxed) > Self.mostBytes }

    /// With `isHere` the caller is on that loop and delivers.
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

    /// On the loop that it belongs to, or there where it belongs to none.
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

    /// Who cannot be told is cut off: to miss a message and not know is worse.
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
