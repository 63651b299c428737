// A client of kv-server: its requests, its replies and the messages to it.
import KVStore
import NetAPI
import RESPCodec
import Synchronization

/// The limits of a client, in bytes.
struct ClientLimits: Sendable {
    /// The longest reply, and the longest message.
    let reply: Int
    /// The most bytes of unread replies. Above this limit, no further request is executed.
    let unread: Int
}

/// The state of one connection. Confined to the connection's loop.
final class Client {
    /// The bytes of replies that are collected before they are written to the connection.
    private static let replyBytes = 16 << 10
    /// The unsent bytes above which a subscriber is disconnected: Redis's
    /// client-output-buffer-limit for subscribers.
    private static let subscriberBytes = 32 << 20
    /// The number of requests that share one reading of the clock.
    private static let requestsPerMoment = 32
    /// The period at which a publisher checks whether its messages to other loops are delivered.
    private static let congestionPeriod: Duration = .milliseconds(1)

    @exclusivity(unchecked) private var parser = RequestParser()
    let session: Session
    let route: Route
    private let connection: Connection
    private let replies: ReplyWriter
    private let call: Call
    private let database: Database
    private let limits: ClientLimits
    /// Whether the client's requests wait, unread.
    @exclusivity(unchecked) private var isHeld = false
    /// Whether `serve` is collecting replies. Messages to this client are then sent among them.
    @exclusivity(unchecked) private var isServing = false
    /// Messages that arrived while EXEC wrote its replies, where RESP3 allows no messages.
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

    /// Returns the address without the scheme.
    private static func shown(_ address: Address) -> String {
        let text = address.description
        guard let colon = text.firstIndex(of: ":") else { return text }
        let rest = text[text.index(after: colon)...]
        return String(rest.hasPrefix("//") ? rest.dropFirst(2) : rest)
    }

    /// Executes all complete requests, as long as there is room for the replies.
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
                    if waitingBytes > 0 {
                        // The messages have the whole limit, and do not cost a reply.
                        send()
                        tellWaiting()
                    }
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

    /// Executes requests that waited, since the peer has read enough of its replies.
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

    /// Waits until another loop has delivered the messages that this client published. The client's
    /// further requests stay unread until then.
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

    /// Sends a message to the client, unless that subscription has ended.
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

/// The route of messages to a client. A client that cannot receive a message is disconnected,
/// because a message lost without notice would be worse.
// `client` is accessed only on its loop.
final class Route: @unchecked Sendable {
    private let handle: ConnectionHandle
    private let database: Database
    private let hasEnded = Atomic(false)
    private var client: Client?

    init(_ handle: ConnectionHandle, _ database: Database) {
        self.handle = handle
        self.database = database
    }

    /// Starts delivery to `client`. Called on the client's loop, like the next two functions.
    func begin(_ client: Client) { self.client = client }

    func tell(_ message: Message, _ subscription: Subscription) {
        guard let client, !hasEnded.load(ordering: .relaxed) else { return }
        client.tell(message, subscription)
    }

    /// Ends delivery after the close of the connection. Dropping a message is no loss from here on.
    func end() {
        hasEnded.store(true, ordering: .relaxed)
        client = nil
    }

    /// Disconnects the client. Called on any thread. Only the first call has an effect, so many
    /// lost messages count once.
    func cutOff() {
        guard !hasEnded.exchange(true, ordering: .relaxed) else { return }
        database.countSubscriberCutOff()
        handle.abort()
    }
}
