// Serves the Redis protocol from a database that all loops share.
import KVStore
import NetAPI
import RESPCodec
import ServerCommand

/// One for all loops: what belongs to a client is kept with its connection, the rest has locks.
struct KVHandler: EventHandler {
    private static let sweepPeriod: Duration = .milliseconds(100)

    private let database: Database
    private let clients: PerConnection<Client>

    init(_ database: Database) {
        self.database = database
        clients = PerConnection { connection in
            let session = Session(deliver: { [handle = connection.handle] in handle.deliver($0) })
            return Client(database, session)
        }
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
        database.opened(connection[clients].session)
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

    @exclusivity(unchecked) private var parser = RequestParser()
    let session: Session
    private let replies: ReplyWriter
    private let call: Call
    private let database: Database

    init(_ database: Database, _ session: Session) {
        self.database = database
        self.session = session
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

    private func send(to connection: Connection) {
        guard replies.count > 0 else { return }
        connection.write(replies.bytes)
        replies.removeAll()
    }
}

extension ConnectionHandle {
    /// Hands a message over to the subscriber's loop. Who cannot be told is cut off: to miss a
    /// message and not know is worse.
    fileprivate func deliver(_ message: [UInt8]) {
        write(message) { [self] result in
            if case .failure(let error) = result, error.code == .overloaded { abort() }
        }
    }
}
