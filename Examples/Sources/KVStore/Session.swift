import RESPCodec
import Synchronization

/// One client: what it chose, and what it listens to. Confined to its connection's loop.
public final class Session {
    private static let lastID = Atomic(0)

    let id = lastID.add(1, ordering: .relaxed).newValue
    /// Takes what is published to its channels, on any loop and in order; to be set before the
    /// first request.
    public var deliver: @Sendable (Message) -> Void = { _ in }
    @exclusivity(unchecked) var version = 2
    var name: [UInt8] = []
    @exclusivity(unchecked) var channels: Set<Bytes> = []
    @exclusivity(unchecked) private var hasEnded = false

    public init() {}

    /// Nothing more is read from it: after QUIT, or what is no request. Not stored itself, since
    /// another module would check each access to it.
    public var isEnding: Bool { hasEnded }

    public func end() { hasEnded = true }

    /// Writes a message that was delivered, as the client speaks now. Nothing if it has left the
    /// channel meanwhile: after the confirmation of UNSUBSCRIBE no message may come.
    public func write(_ message: Message, to reply: ReplyWriter) {
        message.channel.withUnsafeBytes { channel in
            guard channels.contains(.lent(channel)) else { return }
            reply.push(3)
            reply.bulk("message")
            reply.bulk(channel)
            reply.bulk(message.text)
        }
    }

    /// In RESP2 messages and replies look alike, so few commands are allowed then.
    var isRestricted: Bool { version == 2 && !channels.isEmpty }
}
