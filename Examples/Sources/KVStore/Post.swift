import Synchronization

/// The messages that wait for the subscribers of one loop. All messages of other loops' clients
/// until the delivery need only one wake-up of the loop and one list.
// The stored state is accessed only under the lock; `wake` is set before the first subscription.
public final class Post: @unchecked Sendable {
    private struct Parcel {
        let message: Message
        let members: [Member]

        /// The bytes to be written.
        var weight: Int { message.size * members.count }
    }

    /// The bytes to be written that may wait before publishers must wait.
    private static let mostBytes = 8 << 20
    /// The bytes to be written in one turn of the loop, so that it sends them before the next. A
    /// message counts with 64 more for each subscriber, so a turn has at most 32,768 writes.
    private static let turnBytes = 2 << 20

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

    /// Adds a message. With `isHere`, the caller is on that loop. Returns true if the caller must
    /// deliver, since no other delivery is about to begin.
    func add(_ message: Message, _ members: [Member], isHere: Bool) -> Bool {
        let parcel = Parcel(message: message, members: members)
        bytes.add(parcel.weight, ordering: .relaxed)
        let isFirst = lock.alone { () -> Bool in
            waiting.append(parcel)
            guard !isWoken, waiting.count == 1 || !isHere else { return false }
            isWoken = !isHere
            return true
        }
        if isFirst, !isHere { wakeLoop() }
        return isFirst && isHere
    }

    /// Delivers the messages of one turn, and wakes the loop again for those that are left. Called
    /// on the post's loop, or on the publisher's thread if the post has no loop.
    public func deliver() {
        let (parcels, areLeft) = take(atMost: isElsewhere ? Self.turnBytes : .max)
        for parcel in parcels {
            for member in parcel.members {
                member.deliver(parcel.message, member.subscription)
            }
            delivered(parcel)
        }
        if areLeft { wakeLoop() }
    }

    private func wakeLoop() {
        if wake?() != true { giveUp() }
    }

    /// Disconnects subscribers that cannot receive a message, because a message lost without notice
    /// would be worse.
    private func giveUp() {
        for parcel in take(atMost: .max).parcels {
            for member in parcel.members { member.cutOff() }
            delivered(parcel)
        }
    }

    /// Removes and returns the first messages, of at most `most` bytes unless one alone has more.
    private func take(atMost most: Int) -> (parcels: [Parcel], areLeft: Bool) {
        lock.alone {
            var (count, sum) = (0, 0)
            for parcel in waiting {
                sum += parcel.weight
                guard count == 0 || sum <= most else { break }
                count += 1
            }
            isWoken = count < waiting.count
            var taken: [Parcel] = []
            if isWoken {
                taken = Array(waiting[..<count])
                waiting.removeFirst(count)
            } else {
                swap(&taken, &waiting)
            }
            return (taken, isWoken)
        }
    }

    private func delivered(_ parcel: Parcel) {
        bytes.subtract(parcel.weight, ordering: .relaxed)
    }
}
