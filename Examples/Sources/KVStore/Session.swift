import RESPCodec
import Synchronization

/// The state of one client: its settings and its subscriptions. Confined to its connection's loop.
public final class Session {
    private static let lastID = Atomic(0)

    let id = lastID.add(1, ordering: .relaxed).newValue
    let profile: Profile
    /// A closure for a message and the subscription to which it was published.
    public typealias Deliver = @Sendable (Message, Subscription) -> Void
    /// Receives the messages of the client's channels, in order, where `post` delivers. Must be set
    /// before the first request.
    public var deliver: Deliver = { _, _ in }
    /// Ends the connection of a client that missed a message. Called on any thread.
    public var cutOff: @Sendable () -> Void = {}
    /// The post of the client's loop. Must be set before the first request.
    public var post: Post
    /// The post of the last PUBLISH, if too many bytes wait there.
    @exclusivity(unchecked) private var congested: Post?
    @exclusivity(unchecked) private var mustStop = false

    @exclusivity(unchecked) var version = 2 {
        didSet {
            refresh()
            profile.set(version: version)
        }
    }
    var name: [UInt8] = [] { didSet { profile.set(name: name) } }
    /// The channels, each with the number of its subscription.
    @exclusivity(unchecked) private(set) var channels: [Bytes: Int] = [:]
    @exclusivity(unchecked) private(set) var patterns: [Bytes: Int] = [:]
    private var subscriptions = 0
    @exclusivity(unchecked) private var hasEnded = false
    /// The requests after MULTI.
    @exclusivity(unchecked) var transaction: Transaction? { didSet { refresh() } }
    /// Whether EXEC is writing its replies, among which no message is allowed.
    @exclusivity(unchecked) public internal(set) var isExecuting = false
    /// Whether commands are executed as they arrive: there is no transaction and no restriction.
    @exclusivity(unchecked) private(set) var isPlain = true

    public init(_ profile: Profile = Profile(), post: Post = Post()) {
        self.profile = profile
        self.post = post
    }

    /// Whether no further request is read: after QUIT, or after invalid input. It is not a stored
    /// property, because another module would check each access to that.
    public var isEnding: Bool { hasEnded }

    /// Whether no further request is executed now: after the end, or while another loop has to
    /// deliver too many of this client's messages.
    public var isStopped: Bool { mustStop }

    public func end() {
        hasEnded = true
        mustStop = true
    }

    func stop(for post: Post) {
        congested = post
        mustStop = true
    }

    /// Returns false while the client must wait for other loops.
    public func mayGoOn() -> Bool {
        guard let congested else { return true }
        guard !congested.isCongested else { return false }
        self.congested = nil
        mustStop = hasEnded
        return true
    }

    /// Whether only few commands are allowed: in RESP2, messages and replies look alike.
    var isRestricted: Bool { version == 2 && subscribed > 0 }

    /// The number of channels and patterns with a subscription.
    var subscribed: Int { channels.count + patterns.count }

    private func refresh() { isPlain = transaction == nil && !isRestricted }

    /// Adds a subscription and returns its number; nil if the client already has one to this
    /// channel.
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

    /// Removes a subscription; returns false if the client had none to this channel.
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

    /// Writes a delivered message in the client's current protocol version, or nothing if that
    /// subscription has ended. No message may follow the confirmation of UNSUBSCRIBE, and no
    /// earlier message may follow that of another SUBSCRIBE.
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

    /// The number of the subscription; it counts up for each client.
    let number: Int
    /// The pattern; nil for a subscription to a channel.
    let pattern: [UInt8]?
}
