import RESPCodec
import Synchronization

/// One client: what it chose, and what it listens to. Confined to its connection's loop.
public final class Session {
    private static let lastID = Atomic(0)

    let id = lastID.add(1, ordering: .relaxed).newValue
    /// A message, and the number of the subscription that it was published to.
    public typealias Deliver = @Sendable (Message, _ subscription: Int) -> Void
    /// Takes what is published to its channels, on any loop and in order; to be set before the
    /// first request.
    public var deliver: Deliver = { _, _ in }
    @exclusivity(unchecked) var version = 2
    var name: [UInt8] = []
    /// Each with the number of its subscription.
    @exclusivity(unchecked) private(set) var channels: [Bytes: Int] = [:]
    private var subscriptions = 0
    @exclusivity(unchecked) private var hasEnded = false

    public init() {}

    /// Nothing more is read from it: after QUIT, or what is no request. Not stored itself, since
    /// another module would check each access to it.
    public var isEnding: Bool { hasEnded }

    public func end() { hasEnded = true }

    /// The number of a new subscription; nil if it has one to this channel.
    func join(_ channel: UnsafeRawBufferPointer) -> Int? {
        guard channels[.lent(channel)] == nil else { return nil }
        subscriptions += 1
        channels[Bytes(copying: channel)] = subscriptions
        return subscriptions
    }

    /// False if it had no subscription to this channel.
    func leave(_ channel: UnsafeRawBufferPointer) -> Bool {
        channels.removeValue(forKey: .lent(channel)) != nil
    }

    func leaveAll() { channels = [:] }

    /// Writes a message that was delivered, as the client speaks now. Nothing if that subscription
    /// has ended meanwhile: after the confirmation of UNSUBSCRIBE no message may come, and after
    /// that of another SUBSCRIBE none that was published before.
    public func write(_ message: Message, _ subscription: Int, to reply: ReplyWriter) {
        message.channel.withUnsafeBytes { channel in
            guard channels[.lent(channel)] == subscription else { return }
            reply.push(3)
            reply.bulk("message")
            reply.bulk(channel)
            reply.bulk(message.text)
        }
    }

    /// In RESP2 messages and replies look alike, so few commands are allowed then.
    var isRestricted: Bool { version == 2 && !channels.isEmpty }
}
