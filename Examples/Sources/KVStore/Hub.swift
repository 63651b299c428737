import RESPCodec

/// What was published. One for all subscribers; each encodes it as it then speaks.
public final class Message: Sendable {
    let channel: [UInt8]
    let text: [UInt8]

    init(channel: [UInt8], text: [UInt8]) {
        self.channel = channel
        self.text = text
    }
}

/// Channels and their subscribers, for all loops. Messages of one publisher reach each subscriber
/// in their order, since both the lock and the way to a loop keep it.
// `channels` is touched only under the lock.
final class Hub: @unchecked Sendable {
    private let lock = Lock()
    private var channels: [[UInt8]: [Int: Member]] = [:]

    private struct Member {
        let subscription: Int
        let deliver: Session.Deliver
    }

    func subscribe(
        _ id: Int, to channel: [UInt8], _ subscription: Int, _ deliver: @escaping Session.Deliver
    ) {
        let member = Member(subscription: subscription, deliver: deliver)
        lock.alone { channels[channel, default: [:]][id] = member }
    }

    func unsubscribe(_ id: Int, from channel: [UInt8]) {
        lock.alone {
            channels[channel]?[id] = nil
            if channels[channel]?.isEmpty == true { channels[channel] = nil }
        }
    }

    /// Returns how many it went to. Delivered under the lock, so that all subscribers of a channel
    /// see two publishers in the same order.
    func publish(_ text: UnsafeRawBufferPointer, to channel: UnsafeRawBufferPointer) -> Int {
        let message = Message(channel: [UInt8](channel), text: [UInt8](text))
        return lock.alone {
            guard let members = channels[message.channel] else { return 0 }
            for member in members.values { member.deliver(message, member.subscription) }
            return members.count
        }
    }
}
