import RESPCodec

/// One client: what it chose, and what it listens to. Confined to its connection's loop.
public final class Session {
    let id: Int
    let subscriber: Subscriber
    @exclusivity(unchecked) var version = 2
    var name: [UInt8] = []
    @exclusivity(unchecked) var channels: Set<Bytes> = []
    @exclusivity(unchecked) private var hasEnded = false

    /// `deliver` is called on any loop, with whole messages.
    public init(deliver: @escaping @Sendable ([UInt8]) -> Void) {
        id = Subscriber.nextID()
        subscriber = Subscriber(id: id, deliver: deliver)
    }

    /// Nothing more is read from it: after QUIT, or what is no request. Not stored itself, since
    /// another module would check each access to it.
    public var isEnding: Bool { hasEnded }

    public func end() { hasEnded = true }

    /// In RESP2 messages and replies look alike, so few commands are allowed then.
    var isRestricted: Bool { version == 2 && !channels.isEmpty }
}
