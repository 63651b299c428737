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

    init(_ database: Database) {
        self.database = database
        clients = PerConnection { _ in Client(database) }
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
        let session = connection[clients].session
        session.deliver = { [clients, handle = connection.handle] message in
            let delivery = Delivery(handle)
            handle.execute { connection in
                delivery.begin()
                connection[clients].tell(message, on: connection)
            }
        }
        database.opened(session)
        return .none
    }

    func onTraffic(_ connection: Connection) -> Action { serve(connection) }

    /// Requests that were left unread while the peer did not take its replies.
    func onWritable(_ connection: Connection) -> Action { serve(connection) }

    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
        database.closed(connection[clients].session)
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
    private let replies: ReplyWriter
    private let call: Call
    private let database: Database

    init(_ database: Database) {
        self.database = database
        session = Session()
        replies = ReplyWriter()
        call = Call(database, session, replies)
    }

    /// Executes the requests that are complete, as long as the peer takes the replies.
    func serve(_ connection: Connection) -> Action {
        let now = Clock.milliseconds()
        var (taken, executed) = (0, 0)
        connection.withUnsafeBytes { bytes in
            while taken < bytes.count, !session.isEnding {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[taken...])
                switch parser.parse(rest) {
                case .incomplete: return
                case .failed(let error):
                    replies.error(error.text)
                    session.end()
                case .request(let count):
                    parser.withRequest(in: rest) { call.execute($0, now: now) }
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

    /// Hands a message over, unless the client has left its channel.
    func tell(_ message: Message, on connection: Connection) {
        guard connection.outboundBuffered <= Self.subscriberBytes else {
            return connection.abort()
        }
        session.write(message, to: replies)
        send(to: connection)
    }

    private func send(to connection: Connection) {
        guard replies.count > 0 else { return }
        connection.write(replies.bytes)
        replies.removeAll()
    }
}

/// A message on its way to a subscriber's loop. Who cannot be told is cut off: to miss a message
/// and not know is worse. A loop that is overloaded drops what it is given without a word, so the
/// end of what was dropped is what tells.
private final class Delivery: Sendable {
    private let handle: ConnectionHandle
    private let hasBegun = Atomic(false)

    init(_ handle: ConnectionHandle) { self.handle = handle }

    /// It has not been dropped.
    func begin() { hasBegun.store(true, ordering: .relaxed) }

    deinit {
        if !hasBegun.load(ordering: .relaxed) { handle.abort() }
    }
}
