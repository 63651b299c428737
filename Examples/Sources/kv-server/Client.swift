// A client of kv-server: its requests, its replies and the messages to it.
import KVStore
import NetAPI
import RESPCodec
import Synchronization

/// In bytes.
struct ClientLimits: Sendable {
    /// Of a reply, or of a message.
    let reply: Int
    /// Of replies that the peer has not taken: above it no further request is executed.
    let unread: Int
}

/// Confined to its connection's loop.
final class Client {
    /// Replies gathered before they are handed over.
    private static let replyBytes = 16 << 10
    /// Unsent bytes above which a subscriber is cut off instead of being told more: Redis's
    /// client-output-buffer-limit for them.
    private static let subscriberBytes = 32 << 20
    /// Executed as if they were of the same time: the clock is not read for each.
    private static let requestsPerMoment = 32
    /// How often a publisher looks whether others have taken its messages.
    private static let congestionPeriod: Duration = .milliseconds(1)

    @exclusivity(unchecked) private var parser = RequestParser()
    let session: Session
    let route: Route
    private let connection: Connection
    private let replies: ReplyWriter
    private let call: Call
    private let database: Database
    private let limits: ClientLimits
    /// Its requests wait, unread.
    @exclusivity(unchecked) private var isHeld = false
    /// Replies are being gathered, among which messages to it have their place.
    @exclusivity(unchecked) private var isServing = false
    /// Messages that came while EXEC wrote its replies: RESP3 has no place for them there.
    @exclusivity(unchecked) private var waiting: [(Message, Subscription)] = []
    @exclusivity(unchecked) private var waitingBytes = 0

    init(
        _ database: Database, _ connection: Connection, _ post: Post, _ limits: ClientLimits
    ) {
        self.database = database
        self.connection = connection
        self.limits = limits
        route = Route(connection.handle, database)
        session = Session(
            Profile(
                peer: Self.shown(connection.remoteAddress),
                local: Self.shown(connection.localAddress)), post: post)
        replies = ReplyWriter(limit: limits.reply)
        call = Call(database, session, replies)
    }

    /// Without the scheme.
    private static func shown(_ address: Address) -> String {
        let text = address.description
        guard let colon = text.firstIndex(of: ":") else { return text }
        let rest = text[text.index(after: colon)...]
        return String(rest.hasPrefix("//") ? rest.dropFirst(2) : rest)
    }

    /// Executes the requests that are complete, as far as there is room for the replies.
    func serve() -> Action {
        guard !isHeld else { return .none }
        var (taken, executed) = (0, 0)
        call.forgetTime()
        isServing = true
        connection.bytes.withUnsafeBytes { bytes in
            while taken < bytes.count, !session.isStopped {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[taken...])
                switch parser.parse(rest) {
                case .incomplete: return
                case .failed(let error):
                    replies.error(error.text)
                    session.end()
                case .request(let count):
                    parser.withRequest(in: rest) { call.execute($0) }
                    taken += count
                    executed += 1
                    if waitingBytes > 0 { tellWaiting() }
                    if executed % Self.requestsPerMoment == 0 { call.forgetTime() }
                    if replies.count >= Self.replyBytes {
                        send()
                        guard connection.outboundBuffered <= limits.unread else { return hold() }
                    }
                }
            }
        }
        isServing = false
        send()
        connection.discard(taken)
        if executed > 0 { database.count(executed: executed) }
        guard session.isStopped else { return .none }
        if session.isEnding { return .close }
        awaitOthers()
        return .none
    }

    /// The peer has taken what was above the limit.
    func goOn() -> Action {
        guard isHeld, session.mayGoOn() else { return .none }
        isHeld = false
        connection.readsWhileCongested = true
        return serve()
    }

    private func hold() {
        isHeld = true
        connection.readsWhileCongested = false
    }

    /// Published more than another loop can deliver at once: what it has still to say stays unread
    /// until that has gone out.
    private func awaitOthers() {
        isHeld = true
        connection.pauseReading()
        connection.schedule(after: Self.congestionPeriod) { [self] connection in
            guard session.mayGoOn() else { return awaitOthers() }
            isHeld = false
            connection.resumeReading()
            connection.readsWhileCongested = true
            if case .close = serve() { connection.close() }
        }
    }

    /// Hands a message over, unless the client has ended that subscription.
    func tell(_ message: Message, _ subscription: Subscription) {
        guard connection.outboundBuffered + waitingBytes <= Self.subscriberBytes else {
            return cutOff()
        }
        guard !session.isExecuting else { return putOff(message, subscription) }
        session.write(message, subscription, to: replies)
        if replies.hasOverflowed { return cutOff() }
        if !isServing { send() }
    }

    private func putOff(_ message: Message, _ subscription: Subscription) {
        waiting.append((message, subscription))
        waitingBytes += message.size
    }

    private func tellWaiting() {
        let messages = waiting
        waiting = []
        waitingBytes = 0
        for (message, subscription) in messages { tell(message, subscription) }
    }

    private func cutOff() {
        replies.removeAll()
        waiting = []
        waitingBytes = 0
        route.cutOff()
        connection.abort()
    }

    private func send() {
        guard replies.count > 0 else { return }
        connection.write(replies.bytes)
        replies.removeAll()
    }
}

/// The way of messages to a client. Who cannot be told is cut off: to miss a message and not know
/// is worse.
// `client` is touched only on its loop.
final class Route: @unchecked Sendable {
    private let handle: ConnectionHandle
    private let database: Database
    private let hasEnded = Atomic(false)
    private var client: Client?

    init(_ handle: ConnectionHandle, _ database: Database) {
        self.handle = handle
        self.database = database
    }

    /// On its loop, like the next two.
    func begin(_ client: Client) { self.client = client }

    func tell(_ message: Message, _ subscription: Subscription) {
        guard let client, !hasEnded.load(ordering: .relaxed) else { return }
        client.tell(message, subscription)
    }

    /// The connection is closed: what is dropped from here on is no loss.
    func end() {
        hasEnded.store(true, ordering: .relaxed)
        client = nil
    }

    /// On any thread; once, however many messages are lost.
    func cutOff() {
        guard !hasEnded.exchange(true, ordering: .relaxed) else { return }
        database.countSubscriberCutOff()
        handle.abort()
    }
}
