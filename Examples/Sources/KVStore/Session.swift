import RESPCodec
import Synchronization

/// One client: what it chose, and what it listens to. Confined to its connection's loop.
public final class Session {
    private static let lastID = Atomic(0)

    let id = lastID.add(1, ordering: .relaxed).newValue
    let profile: Profile
    /// A message, and the subscription that it was published to.
    public typealias Deliver = @Sendable (Message, Subscription) -> Void
    /// Takes what is published to its channels, in order, where `post` delivers; to be set before
    /// the first request.
    public var deliver: Deliver = { _, _ in }
    /// Ends the connection of a client that could not be told something; on any thread.
    public var cutOff: @Sendable () -> Void = {}
    /// That of its loop; to be set before the first request.
    public var post: Post
    /// Its last PUBLISH went there, where much waits to be delivered.
    @exclusivity(unchecked) private var congested: Post?
    @exclusivity(unchecked) private var mustStop = false

    @exclusivity(unchecked) var version = 2 {
        didSet {
            refresh()
            profile.set(version: version)
        }
    }
    var name: [UInt8] = [] { didSet { profile.set(name: name) } }
    /// Each with the number of its subscription.
    @exclusivity(unchecked) private(set) var channels: [Bytes: Int] = [:]
    @exclusivity(unchecked) private(set) var patterns: [Bytes: Int] = [:]
    private var subscriptions = 0
    @exclusivity(unchecked) private var hasEnded = false
    /// The requests after MULTI.
    @exclusivity(unchecked) var transaction: Transaction? { didSet { refresh() } }
    /// EXEC writes its replies, among which no message may lie.
    @exclusivity(unchecked) public internal(set) var isExecuting = false
    /// Commands are executed as they come: no transaction, and none but few are forbidden.
    @exclusivity(unchecked) private(set) var isPlain = true

    public init(_ profile: Profile = Profile(), post: Post = Post()) {
        self.profile = profile
        self.post = post
    }

    /// Nothing more is read from it: after QUIT, or what is no request. Not stored itself, since
    /// another module would check each access to it.
    public var isEnding: Bool { hasEnded }

    /// No further request is executed now: after the end, or while another loop has much to deliver
    /// that this client has published.
    public var isStopped: Bool { mustStop }

    public func end() {
        hasEnded = true
        mustStop = true
    }

    func stop(for post: Post) {
        congested = post
        mustStop = true
    }

    /// False while it is to wait for other loops.
    public func mayGoOn() -> Bool {
        guard let congested else { return true }
        guard !congested.isCongested else { return false }
        self.congested = nil
        mustStop = hasEnded
        return true
    }

    /// In RESP2 messages and replies look alike, so few commands are allowed then.
    var isRestricted: Bool { version == 2 && subscribed > 0 }

    /// Channels and patterns that it listens to.
    var subscribed: Int { channels.count + patterns.count }

    private func refresh() { isPlain = transaction == nil && !isRestricted }

    /// The number of a new subscription; nil if it has one to this channel.
    func join(_ name: UnsafeRawBufferPointer, _ kind: Subscription.Kind) -> Int? {
        let old = kind == .channel ? channels[.lent(name)] : patterns[.lent(name)]
        guard old == nil else { return nil }
        subscriptions += 1
        if kind == .channel {
            channels[Bytes(copying: name)] = subscriptions
        } else {
            patterns[Bytes(copying: name)] = subscriptions
        }
        subscriptionsChanged()
        return subscriptions
    }

    /// False if it had no subscription to this channel.
    func leave(_ name: UnsafeRawBufferPointer, _ kind: Subscription.Kind) -> Bool {
        let old =
            kind == .channel
            ? channels.removeValue(forKey: .lent(name)) : patterns.removeValue(forKey: .lent(name))
        subscriptionsChanged()
        return old != nil
    }

    func leaveAll() {
        channels = [:]
        patterns = [:]
        subscriptionsChanged()
    }

    private func subscriptionsChanged() {
        refresh()
        profile.set(channels: channels.count, patterns: patterns.count)
    }

    /// Writes a message that was delivered, as the client speaks now. Nothing if that subscription
    /// has ended meanwhile: after the confirmation of UNSUBSCRIBE no message may come, and after
    /// that of another SUBSCRIBE none that was published before.
    public func write(_ message: Message, _ subscription: Subscription, to reply: ReplyWriter) {
        if let pattern = subscription.pattern {
            guard patterns[.owned(pattern)] == subscription.number else { return }
            reply.push(4)
            reply.bulk("pmessage")
            reply.bulk(pattern)
        } else {
            guard channels[.owned(message.channel)] == subscription.number else { return }
            reply.push(3)
            reply.bulk("message")
        }
        reply.bulk(message.channel)
        reply.bulk(message.text)
    }
}

/// One of a client's subscriptions.
public struct Subscription: Sendable {
    enum Kind {
        case channel
        case pattern
    }

    /// Of this client, counted up.
    let number: Int
    /// Nil for one to a channel.
    let pattern: [UInt8]?
}
