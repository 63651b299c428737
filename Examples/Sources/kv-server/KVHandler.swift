// Serves the Redis protocol from a database that all loops share.
import KVStore
import NetAPI
import RESPCodec
import ServerCommand
import Synchronization

/// One for all loops: what belongs to a client is kept with its connection, the rest has locks.
struct KVHandler: EventHandler {
    private static let sweepPeriod: Duration = .milliseconds(100)

    private let database: Database
    private let clients: PerConnection<Client>

    /// `replyBytes` is the most that a reply, or a message, may have.
    init(_ database: Database, replyBytes: Int) {
        self.database = database
        clients = PerConnection { Client(database, Route($0.handle), replyBytes) }
    }

    func onBoot(_ loop: Loop) -> Action {
        announce(loop.server)
        return .none
    }

    func onTick(_ loop: Loop) -> Tick {
        database.store.sweep()
        return .after(Self.sweepPeriod)
    }

    func onOpen(_ connection: Connection) -> Action {
        let client = connection[clients]
        client.session.deliver = { [clients, route = client.route] message, subscription in
            route.run { $0[clients].tell(message, subscription, on: $0) }
        }
        database.opened(client.session)
        return .none
    }

    func onTraffic(_ connection: Connection) -> Action { serve(connection) }

    /// Requests that were left unread while the peer did not take its replies.
    func onWritable(_ connection: Connection) -> Action { serve(connection) }

    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
        let client = connection[clients]
        client.route.end()
        database.closed(client.session)
        return .none
    }

    private func serve(_ connection: Connection) -> Action {
        guard connection.isWritable else { return .none }
        return connection[clients].serve(connection)
    }
}

private final class Client {
    /// Replies gathered before they are handed over.
    private static let replyBytes = 16 << 10
    /// Unsent bytes above which a subscriber is cut off instead of being told more: Redis's
    /// client-output-buffer-limit for them.
    private static let subscriberBytes = 32 << 20

    @exclusivity(unchecked) private var parser = RequestParser()
    let session: Session
    let route: Route
    private let replies: ReplyWriter
    private let call: Call
    private let database: Database

    init(_ database: Database, _ route: Route, _ replyBytes: Int) {
        self.database = database
        self.route = route
        session = Session()
        replies = ReplyWriter(limit: replyBytes)
        call = Call(database, session, replies)
    }

    /// Executes the requests that are complete, as long as the peer takes the replies.
    func serve(_ connection: Connection) -> Action {
        var (taken, executed) = (0, 0)
        call.forgetTime()
        connection.bytes.withUnsafeBytes { bytes in
            while taken < bytes.count, !session.isEnding {
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
                    if replies.count >= Self.replyBytes {
                        send(to: connection)
                        guard connection.isWritable else { return }
                    }
                }
            }
        }
        send(to: connection)
        connection.discard(taken)
        if executed > 0 { database.count(executed: executed) }
        return session.isEnding ? .close : .none
    }

    /// Hands a message over, unless the client has ended that subscription.
    func tell(_ message: Message, _ subscription: Int, on connection: Connection) {
        guard connection.outboundBuffered <= Self.subscriberBytes else {
            return cutOff(connection)
        }
        session.write(message, subscription, to: replies)
        if replies.hasOverflowed { return cutOff(connection) }
        send(to: connection)
    }

    private func cutOff(_ connection: Connection) {
        replies.removeAll()
        database.countSubscriberCutOff()
        connection.abort()
    }

    private func send(to connection: Connection) {
        guard replies.count > 0 else { return }
        connection.write(replies.bytes)
        replies.removeAll()
    }
}

/// The way of messages to a subscriber's loop. Who cannot be told is cut off: to miss a message
/// and not know is worse. A loop that is overloaded drops what it is given without a word, so that
/// the end of what was dropped has to tell.
private final class Route: Sendable {
    private final class Parcel: Sendable {
        let route: Route
        let hasArrived = Atomic(false)

        init(_ route: Route) { self.route = route }

        deinit {
            if !hasArrived.load(ordering: .relaxed) { route.cutOff() }
        }
    }

    private let handle: ConnectionHandle
    private let hasEnded = Atomic(false)

    init(_ handle: ConnectionHandle) { self.handle = handle }

    func run(_ body: @escaping @Sendable (Connection) -> Void) {
        guard !hasEnded.load(ordering: .relaxed) else { return }
        let parcel = Parcel(self)
        handle.execute { connection in
            parcel.hasArrived.store(true, ordering: .relaxed)
            body(connection)
        }
    }

    /// The connection is closed: what is dropped from here on is no loss.
    func end() { hasEnded.store(true, ordering: .relaxed) }

    /// Once, however many messages are lost.
    private func cutOff() {
        if !hasEnded.exchange(true, ordering: .relaxed) { handle.abort() }
    }
}
