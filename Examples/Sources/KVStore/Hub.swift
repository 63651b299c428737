import RESPCodec
import Synchronization

/// Who a message goes to, on whichever loop.
final class Subscriber: Sendable {
    private static let lastID = Atomic(0)

    let id: Int
    let deliver: @Sendable ([UInt8]) -> Void

    init(id: Int, deliver: @escaping @Sendable ([UInt8]) -> Void) {
        self.id = id
        self.deliver = deliver
    }

    static func nextID() -> Int { lastID.add(1, ordering: .relaxed).newValue }
}

/// Channels and their subscribers, for all loops. Messages of one publisher reach each subscriber
/// in their order, since both the lock and the way to a loop keep it.
// `channels` is touched only under the lock.
final class Hub: @unchecked Sendable {
    private struct Member {
        let subscriber: Subscriber
        let version: Int
    }

    private let lock = Lock()
    private var channels: [[UInt8]: [Int: Member]] = [:]

    func subscribe(_ subscriber: Subscriber, version: Int, to channel: [UInt8]) {
        let member = Member(subscriber: subscriber, version: version)
        lock.alone { channels[channel, default: [:]][subscriber.id] = member }
    }

    func unsubscribe(_ id: Int, from channel: [UInt8]) {
        lock.alone {
            channels[channel]?[id] = nil
            if channels[channel]?.isEmpty == true { channels[channel] = nil }
        }
    }

    /// Returns how many it went to. Delivered under the lock, so that all subscribers of a channel
    /// see two publishers in the same order.
    func publish(_ message: UnsafeRawBufferPointer, to channel: UnsafeRawBufferPointer) -> Int {
        let (channel, message) = ([UInt8](channel), [UInt8](message))
        return lock.alone {
            guard let members = channels[channel] else { return 0 }
            var encoded: [Int: [UInt8]] = [:]
            for member in members.values {
                let bytes =
                    encoded[member.version] ?? Self.encode(channel, message, member.version)
                encoded[member.version] = bytes
                member.subscriber.deliver(bytes)
            }
            return members.count
        }
    }

    private static func encode(
        _ channel: [UInt8], _ message: [UInt8], _ version: Int
    ) -> [UInt8] {
        let writer = ReplyWriter(capacity: channel.count + message.count + 64)
        writer.version = version
        writer.push(3)
        writer.bulk("message")
        writer.bulk(channel)
        writer.bulk(message)
        return [UInt8](writer.bytes)
    }
}
